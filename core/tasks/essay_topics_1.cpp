// SPDX-License-Identifier: Apache-2.0
// Essays, first half of the topics: sentences of this project's own, with blanks (essay.h).
#include <array>

#include "tasks/essay.h"

namespace headroom::tasks {
namespace {

using Text = std::string_view;

namespace pottery {
constexpr auto people =
    std::to_array<Text>({"the potter", "her apprentice", "the older brother", "a visiting glazer",
                         "the woman at the wheel", "our neighbour", "the kiln master", "a student"});
constexpr auto things =
    std::to_array<Text>({"a wide bowl", "the cracked jug", "a set of plates", "the tall vase", "a dozen tiles",
                         "the lid", "a lump of red clay", "the failed handle", "a row of cups", "the unglazed pot"});
constexpr auto places = std::to_array<Text>({"the kiln", "the drying shelf", "the yard", "the workbench",
                                             "the glaze room", "the back wall", "the shop window", "the clay pit"});
constexpr auto lines = std::to_array<Text>({
    "%4 %1 lifted %2 from %3 and turned it slowly in the light.",
    "Nothing at %3 is thrown away, and even %2 finds a second use.",
    "%1 said that %2 had dried too fast and would not survive the fire.",
    "To judge the heat %1 looks only at the colour inside %3.",
    "It takes years before the hands know how much water %2 can bear.",
    "%1 scratched a small mark under %2 so that it could be told apart later.",
    "A draught from %3 is enough to spoil %2 and a whole day's labour with it.",
    "%4 there was ash on everything, and %1 laughed about it.",
    "What looks like a fault in %2 is often what buyers ask for first.",
    "%1 mixed sand into the clay because %2 kept splitting near %3.",
    "Some glazes turn green only if smoke reaches %3 at the right moment.",
    "%1 never explained the recipe, but left %2 on %3 for anyone to study.",
});
}  // namespace pottery

namespace kitchen {
constexpr auto people =
    std::to_array<Text>({"the cook", "my grandmother", "the kitchen boy", "a hungry guest", "the second cook",
                         "her cousin", "the man who washed up", "an impatient host"});
constexpr auto things =
    std::to_array<Text>({"the lentil soup", "a tray of rolls", "the pepper sauce", "the plum tart", "a pan of onions",
                         "the rice", "the pickled beets", "the barley broth", "a pie with leeks", "the roast"});
constexpr auto places = std::to_array<Text>({"the stove", "the pantry", "the long table", "the window sill",
                                             "the cold larder", "the sink", "the serving hatch", "the oven"});
constexpr auto lines = std::to_array<Text>({
    "%1 tasted %2 twice and then reached for the salt without a word.",
    "%4 the smell of %2 came all the way from %3 to the street.",
    "A recipe for %2 tells you the amounts, not when to stop.",
    "%1 kept a notebook near %3, stained by every dish in it.",
    "If %2 is hurried, nobody at the table will be fooled.",
    "%4 we ate %2 standing, because %3 was covered in flour.",
    "%1 insists that %2 is better on the second day.",
    "There was an argument about whether %2 belongs in %3 or beside it.",
    "%1 cut the vegetables so evenly that they might have been printed.",
    "Nobody could say who had moved %2 away from %3.",
    "Good knives and patience are most of what %2 demands.",
    "%1 learned to make %2 from a neighbour who measured nothing.",
});
}  // namespace kitchen

namespace school {
constexpr auto people =
    std::to_array<Text>({"the new teacher", "a shy pupil", "the headmistress", "the oldest boy",
                         "a girl in the front row", "the caretaker", "the geography master", "an inspector"});
constexpr auto things = std::to_array<Text>(
    {"the long division", "a poem about winter", "the map of the delta", "an unfinished essay", "the spelling test",
     "a drawing of a beehive", "the history lesson", "the broken globe", "the class diary", "a page of fractions"});
constexpr auto places = std::to_array<Text>({"the blackboard", "the corridor", "the playground", "the reading corner",
                                             "the gymnasium", "the staff room", "the cloakroom", "the last desk"});
constexpr auto lines = std::to_array<Text>({
    "%1 asked a question about %2 that no book in the room could answer.",
    "%4 %1 wiped %3 clean and began once more from the start.",
    "Learning %2 by heart was the rule, understanding it a happy accident.",
    "%1 had hidden %2 behind %3 and hoped that it would be forgotten.",
    "A class of thirty can be quiet, but only if %2 is worth the silence.",
    "%4 the bell rang while %1 was still explaining %2.",
    "%1 believed that mistakes in %2 should be kept and looked at.",
    "Chalk dust lay on %3 like the first frost of the year.",
    "Years afterwards people remembered %2 and not the marks they got for it.",
    "%1 carried %2 home to show what could be done with little time.",
    "It was warmer near %3, so that is where the slow readers sat.",
    "%1 drew %2 on %3, and suddenly the whole idea was simple.",
});
}  // namespace school

namespace trade {
constexpr auto people =
    std::to_array<Text>({"the merchant", "a careful buyer", "the weigher", "the widow who sold lace", "a clerk",
                         "the spice dealer", "his partner", "the toll collector"});
constexpr auto things = std::to_array<Text>({"a bale of wool", "the copper pots", "three sacks of rye", "the silk",
                                             "a jar of honey", "the dried figs", "a bundle of hides", "the tin mugs",
                                             "an order for rope soles", "the cheapest paper"});
constexpr auto places = std::to_array<Text>({"the market hall", "the counting table", "the weigh house", "the stall",
                                             "the warehouse", "the east gate", "the scales", "the covered arcade"});
constexpr auto lines = std::to_array<Text>({
    "%1 named a price for %2 and then waited, which is the harder part.",
    "%4 the news reached %3 that %2 would be scarce until spring.",
    "Trust costs nothing at %3, but it is the last thing sold.",
    "%1 wrote down the sum for %2 in a hand that only he could read.",
    "A fair measure of %2 leaves both sides a little disappointed.",
    "%4 the crowd at %3 was so thick that %1 gave up.",
    "%1 had bought %2 in summer and could not get rid of it by autumn.",
    "The tax on %2 was lowered after %1 complained for eleven years.",
    "What arrives at %3 in the morning is worth half by night.",
    "%1 tested %2 with a thumb, a nose and finally a loud sigh.",
    "Credit was given at %3 to anyone whose father had paid.",
    "%1 sent %2 back because the seal had been opened and closed again.",
});
}  // namespace trade

namespace farming {
constexpr auto people =
    std::to_array<Text>({"the farmer", "his daughter", "the hired hand", "the beekeeper", "a neighbour with two mules",
                         "the shepherd", "the miller", "the man from the seed office"});
constexpr auto things =
    std::to_array<Text>({"the late oats", "a strip of beans", "the lambs", "the hay", "the potatoes", "an empty hive",
                         "the old plough", "the winter wheat", "a load of turnips", "the drainage ditch"});
constexpr auto places = std::to_array<Text>({"the lower field", "the barn", "the hedge", "the well", "the hill pasture",
                                             "the threshing floor", "the stony corner", "the mill pond"});
constexpr auto lines = std::to_array<Text>({
    "%1 looked at the sky and decided that %2 could wait another day.",
    "%4 water stood in %3, and %2 had to be given up.",
    "There is a saying about %2 that is wrong two years out of three.",
    "%1 paced out %3 again, since no two surveys had ever agreed on it.",
    "A dry week in May decides more about %2 than any skill.",
    "%1 traded %2 for a day of work at %3.",
    "%4 frost came without wind and took %2 in a single hour.",
    "The soil near %3 is heavy, so %1 goes around it with the cart.",
    "%1 counted the losses, shrugged, and mended the gate by %3.",
    "Children were paid a penny to keep birds away from %2.",
    "Whoever dug %3 knew the slope better than %1 does today.",
    "%1 keeps a record of %2 that goes back to before the railway.",
});
}  // namespace farming

namespace music {
constexpr auto people =
    std::to_array<Text>({"the violinist", "a choir of nine", "the conductor", "the piano tuner", "a drummer",
                         "the composer's sister", "the youngest singer", "an usher who knew every score"});
constexpr auto things =
    std::to_array<Text>({"the slow movement", "a folk tune", "the second verse", "the overture", "a difficult trill",
                         "the final chord", "a march", "the lullaby", "the cello part", "an improvised ending"});
constexpr auto places = std::to_array<Text>({"the rehearsal room", "the gallery", "the concert hall", "the stage door",
                                             "the organ loft", "the bandstand", "the third row", "the practice hut"});
constexpr auto lines = std::to_array<Text>({
    "%1 played %2 too softly, and yet it could be heard from %3.",
    "%4 %1 stopped in the middle of %2 and asked for silence.",
    "No recording of %2 has ever caught what happened in %3.",
    "%1 marked the breath before %2 with a blue pencil.",
    "A wrong note in %2 is forgiven sooner than a timid one.",
    "%4 rain on the roof of %3 kept better time than %1.",
    "%1 had known %2 since childhood without knowing its name.",
    "The echo in %3 is kind to singers and cruel to brass.",
    "It was %1 who noticed that two bars of %2 were missing.",
    "%1 practised %2 until the neighbours could whistle it.",
    "Applause began before %2 was over, as it always does in %3.",
    "%1 tuned for an hour and then played %2 only once.",
});
}  // namespace music

constexpr std::array first_topics = {
    EssayTopic{pottery::people, pottery::things, pottery::places, pottery::lines},
    EssayTopic{kitchen::people, kitchen::things, kitchen::places, kitchen::lines},
    EssayTopic{school::people, school::things, school::places, school::lines},
    EssayTopic{trade::people, trade::things, trade::places, trade::lines},
    EssayTopic{farming::people, farming::things, farming::places, farming::lines},
    EssayTopic{music::people, music::things, music::places, music::lines},
};

}  // namespace

std::span<const EssayTopic> essay_topics_1() {
  return first_topics;
}

}  // namespace headroom::tasks
