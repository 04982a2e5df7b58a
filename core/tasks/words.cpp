// SPDX-License-Identifier: Apache-2.0
// Keys and values of needles. The lists are this project's own; tests check that distillation uses none of the words.
#include <array>
#include <numeric>

#include "tasks/generator.h"

namespace headroom::tasks {
namespace {

constexpr auto adjectives = std::to_array<std::string_view>(
    {"brisk",   "calm",     "clever",   "crisp",    "curly",     "dapper",   "daring",  "dizzy",   "eager",   "earnest",
     "fancy",   "fierce",   "fluffy",   "frugal",   "gentle",    "giddy",    "glossy",  "grumpy",  "hasty",   "hollow",
     "humble",  "icy",      "jaunty",   "jolly",    "keen",      "lively",   "lofty",   "lucky",   "mellow",  "mighty",
     "modest",  "nimble",   "noble",    "odd",      "patient",   "peppy",    "placid",  "plucky",  "polite",  "proud",
     "puzzled", "rapid",    "rowdy",    "rustic",   "shiny",     "silent",   "sleepy",  "sly",     "snug",    "solemn",
     "sturdy",  "subtle",   "swift",    "tidy",     "tiny",      "upbeat",   "vivid",   "wary",    "weary",   "witty",
     "woolly",  "young",    "zany",     "zesty",    "agile",     "alert",    "amused",  "ancient", "anxious", "ardent",
     "awkward", "bashful",  "blunt",    "bold",     "bouncy",    "brainy",   "brave",   "bright",  "bubbly",  "bulky",
     "bumpy",   "candid",   "careful",  "cheerful", "chilly",    "chubby",   "classy",  "cloudy",  "clumsy",  "cosy",
     "crafty",  "cranky",   "creamy",   "crooked",  "cuddly",    "curious",  "cute",    "dainty",  "damp",    "dashing",
     "dense",   "devout",   "diligent", "dreamy",   "drowsy",    "dusty",    "elegant", "exact",   "fabled",  "faded",
     "famous",  "feisty",   "festive",  "fickle",   "fiery",     "flaky",    "flashy",  "fluent",  "foamy",   "fond",
     "formal",  "frank",    "frisky",   "frosty",   "funny",     "fussy",    "fuzzy",   "gaudy",   "genial",  "ghostly",
     "glad",    "gleaming", "gloomy",   "graceful", "grand",     "greedy",   "handy",   "happy",   "hardy",   "hearty",
     "heavy",   "honest",   "huge",     "idle",     "jagged",    "jumpy",    "kindly",  "lanky",   "lazy",    "limber",
     "lonely",  "loud",     "loyal",    "lush",     "merry",     "messy",    "misty",   "moody",   "muddy",   "naive",
     "neat",    "nervous",  "nifty",    "noisy",    "perky",     "petite",   "plain",   "playful", "pompous", "prim",
     "prompt",  "prudent",  "quaint",   "quirky",   "radiant",   "ragged",   "rosy",    "rugged",  "rusty",   "salty",
     "sandy",   "sassy",    "scruffy",  "serene",   "shaggy",    "sharp",    "shy",     "silky",   "sincere", "sleek",
     "slender", "slick",    "smooth",   "sober",    "spicy",     "spiky",    "spry",    "stately", "stern",   "sticky",
     "stocky",  "stout",    "strict",   "stubborn", "stylish",   "sunny",    "supple",  "tame",    "tangy",   "tart",
     "teeny",   "tender",   "thrifty",  "timid",    "tough",     "tranquil", "trusty",  "urban",   "vague",   "valiant",
     "velvet",  "vibrant",  "warm",     "wavy",     "whimsical", "wiry",     "wise",    "wobbly"});
constexpr auto nouns = std::to_array<std::string_view>(
    {"anvil",    "badger",    "bagel",      "banjo",     "beetle",    "bicycle",    "biscuit",  "blanket",
     "bonnet",   "bucket",    "button",     "cactus",    "camel",     "candle",     "canoe",    "carpet",
     "castle",   "cello",     "cobweb",     "comet",     "cricket",   "dragon",     "drum",     "easel",
     "fiddle",   "ferret",    "goblet",     "guitar",    "hammock",   "hedgehog",   "helmet",   "igloo",
     "jigsaw",   "kettle",    "lemon",      "lizard",    "magnet",    "mitten",     "muffin",   "napkin",
     "noodle",   "otter",     "paddle",     "panda",     "pebble",    "pickle",     "pigeon",   "pillow",
     "puppet",   "rabbit",    "ribbon",     "rocket",    "saddle",    "sandal",     "scarf",    "spoon",
     "teapot",   "trumpet",   "tulip",      "turnip",    "waffle",    "wallet",     "weasel",   "zeppelin",
     "acorn",    "antler",    "apron",      "armchair",  "axle",      "bamboo",     "banana",   "barrel",
     "basket",   "bassoon",   "beaver",     "bobbin",    "bonfire",   "bracelet",   "broom",    "bugle",
     "bunker",   "butter",    "buzzer",     "cabbage",   "cannon",    "carrot",     "cauldron", "cherry",
     "cobbler",  "coconut",   "compass",    "cookie",    "copper",    "cradle",     "crayon",   "crocus",
     "crown",    "cupcake",   "curtain",    "cushion",   "dagger",    "daisy",      "donkey",   "doorbell",
     "dumpling", "eggplant",  "faucet",     "feather",   "flagpole",  "flamingo",   "flute",    "freckle",
     "funnel",   "gadget",    "gargoyle",   "garlic",    "gazelle",   "geyser",     "ginger",   "giraffe",
     "goggles",  "gorilla",   "grape",      "hammer",    "hamster",   "harp",       "hatchet",  "haystack",
     "hinge",    "hippo",     "honey",      "hornet",    "hourglass", "iceberg",    "inkwell",  "jacket",
     "jaguar",   "jelly",     "jester",     "jungle",    "kangaroo",  "kayak",      "kazoo",    "keyhole",
     "kimono",   "kitten",    "koala",      "ladder",    "ladle",     "lagoon",     "lasso",    "lettuce",
     "llama",    "lobster",   "locket",     "lollipop",  "mammoth",   "mandolin",   "mango",    "marigold",
     "mattress", "medal",     "melon",      "meteor",    "mirror",    "moccasin",   "monocle",  "moose",
     "mosaic",   "mushroom",  "mustard",    "necklace",  "nugget",    "nutcracker", "oboe",     "octopus",
     "olive",    "omelette",  "onion",      "orchid",    "oyster",    "pancake",    "papaya",   "parrot",
     "pastry",   "peacock",   "peanut",     "pelican",   "pencil",    "penguin",    "pepper",   "piano",
     "pinecone", "pirate",    "pistachio",  "pocket",    "popcorn",   "porcupine",  "potato",   "pretzel",
     "prism",    "propeller", "pudding",    "pumpkin",   "pyramid",   "quilt",      "raccoon",  "radish",
     "rainbow",  "raisin",    "rhubarb",    "robot",     "rooster",   "rudder",     "sailboat", "satchel",
     "saucer",   "sausage",   "saxophone",  "scooter",   "seahorse",  "shovel",     "skillet",  "slipper",
     "snorkel",  "snowman",   "sofa",       "sparrow",   "spatula",   "spider",     "squirrel", "stapler",
     "sundial",  "sweater",   "tambourine", "tangerine", "telescope", "thimble",    "tiger",    "toaster",
     "toboggan", "tomato",    "tortoise",   "tractor",   "treadmill", "tricycle",   "tripod",   "tugboat",
     "turtle",   "tuxedo",    "umbrella",   "unicorn",   "vase",      "viola",      "walrus",   "wheelbarrow",
     "whisker",  "windmill",  "wombat",     "xylophone", "yoyo",      "zebra",      "zipper"});

}  // namespace

Keys::Keys(Random random, std::size_t unique) : random_(random), order_(pool()), unique_(unique) {
  std::iota(order_.begin(), order_.end(), 0u);
}

std::size_t Keys::pool() {
  return adjectives.size() * nouns.size();
}

std::string Keys::next() {
  std::size_t place = taken_;
  if (taken_ < order_.size())
    std::swap(order_[place], order_[place + random_.below(order_.size() - place)]);
  else
    place = unique_ + (taken_ - unique_) % (order_.size() - unique_);
  ++taken_;
  return std::string(adjectives[order_[place] % adjectives.size()]) + '-' +
         std::string(nouns[order_[place] / adjectives.size()]);
}

std::vector<std::string_view> key_words() {
  std::vector<std::string_view> words(adjectives.begin(), adjectives.end());
  words.insert(words.end(), nouns.begin(), nouns.end());
  return words;
}

std::string random_number(Random& random) {
  return std::to_string(1'000'000 + random.below(9'000'000));
}

std::string random_uuid(Random& random) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "xxxxxxxx-xxxx-4xxx-vxxx-xxxxxxxxxxxx";
  for (char& c : text) {
    if (c == 'x') c = digits[random.below(16)];
    if (c == 'v') c = digits[8 + random.below(4)];  // the variant
  }
  return text;
}

std::string random_letters(Random& random, int count, char first) {
  std::string text;
  for (int i = 0; i < count; ++i) text += static_cast<char>(first + static_cast<char>(random.below(26)));
  return text;
}

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return text;
}

}  // namespace headroom::tasks
