// SPDX-License-Identifier: Apache-2.0
#include "experiment/distil/needle_lists.h"

#include <array>

namespace headroom::experiment {
namespace {

using Text = std::string_view;

namespace training {

constexpr Text introduction = "Keep the following notes in mind. Questions come afterwards.";
constexpr auto sentences = std::to_array<Text>({
    "The harbour was quiet before sunrise.",
    "Two ferries crossed the bay at noon.",
    "Someone had left a lantern on the pier.",
    "Gulls argued over a piece of bread.",
    "The baker opened his shutters early.",
    "Rain moved in from the west by evening.",
    "A cart rattled over the wet stones.",
    "Children counted the boats from the wall.",
    "The lighthouse keeper wrote his log.",
    "Nets were hung to dry along the quay.",
    "An old sailor mended rope beside the steps.",
    "Fog rolled over the breakwater after midnight.",
    "Fishmongers called their prices across the square.",
    "The tide had carried driftwood up the beach.",
    "Three dinghies bumped against their moorings.",
    "A dog slept under the customs house bench.",
    "Salt crusted the windows of every shop.",
    "The ferryman whistled while he waited.",
    "Barrels of herring stood outside the smokehouse.",
    "Someone painted a hull dark red that spring.",
    "The buoy bell rang all through dinner.",
    "Oars were stacked behind the boathouse door.",
    "A trawler came home with one mast broken.",
    "Seaweed dried slowly on the shingle.",
});
constexpr auto subjects = std::to_array<Text>({
    "amber",  "basalt", "cedar",   "dahlia",  "ember", "falcon", "garnet", "heron",
    "indigo", "jasper", "kestrel", "lichen",  "maple", "nutmeg", "osprey", "poplar",
    "quartz", "raven",  "saffron", "thistle", "umber", "violet", "walnut", "yarrow",
});
constexpr auto things =
    std::to_array<Text>({"locker", "parcel", "archive", "cabin", "ticket", "engine", "garden", "vault"});
constexpr auto wordings = std::to_array<Wording>({
    {"Remember that the access code of the %1 is %2.", "Which access code belongs to the %1?",
     "The access code of the %1 is %2."},
    {"Note: %2 is the serial number printed on the %1.", "State the serial number printed on the %1.",
     "The %1 carries the serial number %2."},
    {"The registry lists the %1 under entry %2.", "Under which entry does the registry list the %1?",
     "The registry lists it under entry %2."},
});

}  // namespace training

namespace evaluation {

constexpr Text introduction = "What follows was copied from a mountain diary. Read it with care, then reply.";
constexpr auto sentences = std::to_array<Text>({
    "Snow still lay in the upper valley.",
    "Goats grazed between the two railway tunnels.",
    "My uncle carved spoons during long winters.",
    "Several hikers asked for directions to the ridge.",
    "Thunder echoed far below our hut.",
    "Pine needles covered half of the path.",
    "Nobody had repaired the footbridge since autumn.",
    "Smoke rose straight up out of the chimney.",
    "He ground coffee by hand each morning.",
    "Bees found clover near the sawmill.",
    "A narrow train climbed towards the glacier.",
    "Cheese ripened on shelves in a cool cellar.",
    "She knitted while listening to the radio.",
    "Marmots whistled whenever an eagle passed.",
    "Firewood was piled higher than the fence.",
    "Clouds hid every summit until lunch.",
    "The schoolteacher skied down for the mail.",
    "Icicles dripped onto the veranda.",
    "Our guide studied avalanche reports twice daily.",
    "Wild strawberries grew along an abandoned track.",
    "Cowbells could be heard before dawn.",
    "Moss softened all sounds in that forest.",
    "Neighbours shared soup after clearing the road.",
    "Stars looked brighter above the pass.",
});
constexpr auto subjects = std::to_array<Text>({
    "acacia", "birch",   "cobalt", "damson", "elder",       "fennel", "granite", "hazel",
    "iris",   "juniper", "kiwi",   "lupin",  "marble",      "nettle", "opal",    "pewter",
    "quince", "rowan",   "sorrel", "teak",   "ultramarine", "vetch",  "willow",  "zinnia",
});
constexpr auto things =
    std::to_array<Text>({"drawer", "crate", "ledger", "chamber", "badge", "turbine", "orchard", "trunk"});
constexpr auto wordings = std::to_array<Wording>({
    {"Yesterday the dial of the %1 stopped at %2.", "At what value did the dial of the %1 stop?",
     "Its dial stopped at %2."},
    {"Inspectors weighed the %1 and found %2 grams.", "How many grams did the inspectors find for the %1?",
     "They found that the %1 weighs %2 grams."},
    {"On our map, grid point %2 marks the %1.", "Give the grid point that marks the %1.", "Grid point %2 marks it."},
});

}  // namespace evaluation

}  // namespace

NeedleLists needle_lists(Part part) {
  if (part == Part::training)
    return {training::introduction, training::sentences, training::subjects, training::things, training::wordings};
  return {evaluation::introduction, evaluation::sentences, evaluation::subjects, evaluation::things,
          evaluation::wordings};
}

}  // namespace headroom::experiment
