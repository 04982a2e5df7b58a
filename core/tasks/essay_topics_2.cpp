// SPDX-License-Identifier: Apache-2.0
// Essays, second half of the topics: sentences of this project's own, with blanks (essay.h).
#include <array>

#include "tasks/essay.h"

namespace headroom::tasks {
namespace {

using Text = std::string_view;

namespace bridges {
constexpr auto people =
    std::to_array<Text>({"the engineer", "a young surveyor", "the foreman", "the mayor", "a retired mason",
                         "the steel contractor", "the committee", "a passer-by"});
constexpr auto things = std::to_array<Text>({"the middle arch", "a cracked beam", "the new foundation", "the railing",
                                             "the first drawing", "a bent rivet", "the eastern pier", "the load test",
                                             "the temporary scaffold", "the expansion joint"});
constexpr auto places = std::to_array<Text>({"the north bank", "the site office", "the river bed", "the old crossing",
                                             "the quarry", "the approach road", "the testing yard", "the parapet"});
constexpr auto lines = std::to_array<Text>({
    "%1 calculated %2 three times and got three answers that nearly agreed.",
    "%4 the water rose above %3 and nobody could reach %2.",
    "Every bridge is a guess about floods that have not happened yet.",
    "%1 tapped %2 with a hammer and listened with closed eyes.",
    "The cost of %2 was hidden under another heading for a whole year.",
    "%1 refused to sign for %2 until samples from %3 had been broken.",
    "%4 fog covered %3 so that only the voices of the workers were left.",
    "Stone forgives a bad winter, but %2 does not.",
    "%1 had drawn %2 on the back of an envelope that still exists.",
    "People stood on %3 for hours to see %2 lowered into place.",
    "A bridge ages from below, which is why %1 started at %3.",
    "%1 remembered a collapse elsewhere and doubled the bolts in %2.",
});
}  // namespace bridges

namespace clocks {
constexpr auto people = std::to_array<Text>({"the watchmaker", "his assistant", "a collector", "the sexton",
                                             "the woman who wound the tower clock", "a repairman", "the toolmaker",
                                             "the owner of the shop"});
constexpr auto things =
    std::to_array<Text>({"the mainspring", "a worn gear", "the pendulum", "an enamel dial", "the striking train",
                         "a pocket watch", "the escapement", "a tiny screw", "the glass cover", "the minute hand"});
constexpr auto places = std::to_array<Text>({"the bench", "the tower", "the display case", "the cellar stairs",
                                             "the velvet tray", "the north window", "the lathe", "the tool rack"});
constexpr auto lines = std::to_array<Text>({
    "%1 took %2 apart and laid the pieces out in the order of their removal.",
    "%4 every clock in the shop disagreed, and %1 trusted none of them.",
    "A drop of oil too much will stop %2 as surely as rust.",
    "%1 found %2 under %3, where it had rolled long ago.",
    "Accuracy is a matter of temperature, and %3 was never warm.",
    "%1 could tell by ear that %2 had lost a tooth.",
    "%4 %1 worked on %2 until the lamp ran dry.",
    "The repair of %2 cost more than the watch and was paid without complaint.",
    "On %3 lay a letter that asked why %2 ran backwards.",
    "%1 filed %2 by hand, since no spare had been made for sixty years.",
    "Old movements were built to be mended, and %2 shows it.",
    "%1 set %2 by the stars and was off by four seconds.",
});
}  // namespace clocks

namespace journeys {
constexpr auto people =
    std::to_array<Text>({"the conductor of the night train", "a salesman", "two students", "the woman by the window",
                         "the station master", "a soldier on leave", "the cyclist", "an elderly couple"});
constexpr auto things = std::to_array<Text>(
    {"a folded timetable", "the last connection", "a heavy suitcase", "the wrong platform", "a flask of tea",
     "the border papers", "a borrowed umbrella", "the steep descent", "an unmarked lane", "the replacement bus"});
constexpr auto places = std::to_array<Text>({"the waiting room", "the junction", "the dining car", "the plain",
                                             "the foot of the pass", "the inn", "the small halt", "the signal box"});
constexpr auto lines = std::to_array<Text>({
    "%4 %1 arrived at %3 an hour after everything had closed.",
    "%1 explained %2 to strangers as if they had asked for it.",
    "On a long journey %2 becomes more important than the destination.",
    "Between %3 and the coast there is nothing that a map would mention.",
    "%1 slept through %2 and woke up in another province.",
    "%4 the heating failed near %3, and %2 was shared by all.",
    "Delays teach patience only to those who have %2 with them.",
    "%1 had crossed %3 in every season and disliked it in each.",
    "Because of %2 we saw %3 by daylight, which few travellers do.",
    "%1 left %2 at %3 and went back for it on foot.",
    "The road bends twice before %3 without any visible reason.",
    "%1 wrote a postcard about %2 and never sent it.",
});
}  // namespace journeys

namespace reading {
constexpr auto people = std::to_array<Text>({"the librarian", "a slow reader", "the translator", "the bookbinder",
                                             "a critic", "the printer's devil", "the author", "a boy with a torch"});
constexpr auto things = std::to_array<Text>({"the third chapter", "a footnote", "an atlas without covers",
                                             "the preface", "a novel in letters", "the missing index", "a pamphlet",
                                             "the dedication", "an overdue volume", "a page of errata"});
constexpr auto places = std::to_array<Text>({"the upper shelf", "the reading desk", "the bindery", "the print shop",
                                             "the attic", "the catalogue room", "the bookstall", "the night table"});
constexpr auto lines = std::to_array<Text>({
    "%1 returned %2 with remarks in the margin that were better than the text.",
    "%4 %1 could not put %2 down, although nothing happened in it.",
    "To read %2 aloud is to find out where the writer was tired.",
    "%1 searched %3 for %2 and came back with something else.",
    "The best thing about %2 is what it leaves to the reader.",
    "%1 believed that %2 had been written by two people who never met.",
    "%4 dust from %3 settled on %2 as if to protect it.",
    "A printing error in %2 made one village famous for a week.",
    "%1 learned a whole language in order to quarrel with %2.",
    "In %3 the books stand in the order in which they were bought.",
    "%1 copied %2 by hand because the press at %3 had stopped.",
    "Nobody borrows %2, yet it falls open at the same place every time.",
});
}  // namespace reading

namespace skies {
constexpr auto people =
    std::to_array<Text>({"the astronomer", "her colleague", "the night watchman", "an amateur", "the lens grinder",
                         "a visiting professor", "the weather clerk", "the youngest observer"});
constexpr auto things = std::to_array<Text>({"a faint nebula", "the moons of Jupiter", "the eclipse", "a double star",
                                             "the cloud chart", "a meteor shower", "the barometer", "the great mirror",
                                             "a line in the spectrum", "the return of the comet"});
constexpr auto places =
    std::to_array<Text>({"the dome", "the flat roof", "the eyepiece", "the observatory hill", "the dark room",
                         "the instrument shed", "the southern sky", "the log book"});
constexpr auto lines = std::to_array<Text>({
    "%1 waited six weeks for %2 and then saw it for nine minutes.",
    "%4 thin cloud drifted over %3 and ended the observation.",
    "Measuring %2 means first measuring everything that could be mistaken for it.",
    "%1 noted the time of %2 in %3, to the tenth of a second.",
    "Cold air at %3 is steady air, so gloves matter more than lenses.",
    "%1 doubted %2 until a second plate showed it again.",
    "%4 %1 climbed to %3 with bread, a blanket and low hopes.",
    "The polish of %2 took a winter, its test a single evening.",
    "%1 wrote to four cities about %2, and three replied at once.",
    "What the eye misses at %3 a long exposure will keep.",
    "Nobody had predicted %2, and %1 was honest enough to say so.",
    "%1 compared %2 with an older sketch and found a small shift.",
});
}  // namespace skies

namespace clinic {
constexpr auto people =
    std::to_array<Text>({"the district nurse", "the old doctor", "a worried father", "the pharmacist",
                         "a patient with a cough", "the surgeon", "the midwife", "the hospital porter"});
constexpr auto things = std::to_array<Text>(
    {"the fever chart", "a bitter syrup", "the sprained ankle", "a clean bandage", "the diagnosis", "the waiting list",
     "a pair of splints", "the new vaccine", "the second opinion", "the morning round"});
constexpr auto places =
    std::to_array<Text>({"the ward", "the dispensary", "the front steps", "the examination room", "the sick bed",
                         "the ambulance", "the linen cupboard", "the consulting room"});
constexpr auto lines = std::to_array<Text>({
    "%1 asked about sleep and appetite before looking at %2.",
    "%4 there was no bed free in %3, and %1 improvised.",
    "Most illnesses end by themselves, but %2 gets the thanks.",
    "%1 explained %2 slowly, and then explained it once more.",
    "A list on the door of %3 showed who had been given %2.",
    "%1 washed both hands up to the elbow, as the rule in %3 demanded.",
    "%4 %1 walked four miles to bring %2 to a single house.",
    "Hope is not written on %2, though every relative looks for it there.",
    "%1 threw %2 away, since its label could not be read.",
    "In %3 the blinds stay half closed until noon.",
    "%1 trusted %2 less than the colour of a patient's face.",
    "Hardly anyone left %3 without a joke from %1.",
});
}  // namespace clinic

constexpr std::array second_topics = {
    EssayTopic{bridges::people, bridges::things, bridges::places, bridges::lines},
    EssayTopic{clocks::people, clocks::things, clocks::places, clocks::lines},
    EssayTopic{journeys::people, journeys::things, journeys::places, journeys::lines},
    EssayTopic{reading::people, reading::things, reading::places, reading::lines},
    EssayTopic{skies::people, skies::things, skies::places, skies::lines},
    EssayTopic{clinic::people, clinic::things, clinic::places, clinic::lines},
};

}  // namespace

std::span<const EssayTopic> essay_topics_2() {
  return second_topics;
}

}  // namespace headroom::tasks
