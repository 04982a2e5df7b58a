// SPDX-License-Identifier: Apache-2.0
// Keys and values of needles. The lists are this project's own; tests check that distillation uses none of the words.
#include <array>

#include "tasks/generator.h"

namespace headroom::tasks {
namespace {

constexpr std::array adjectives = {
    "brisk",  "calm",    "clever", "crisp",  "curly",  "dapper", "daring", "dizzy",   "eager",  "earnest", "fancy",
    "fierce", "fluffy",  "frugal", "gentle", "giddy",  "glossy", "grumpy", "hasty",   "hollow", "humble",  "icy",
    "jaunty", "jolly",   "keen",   "lively", "lofty",  "lucky",  "mellow", "mighty",  "modest", "nimble",  "noble",
    "odd",    "patient", "peppy",  "placid", "plucky", "polite", "proud",  "puzzled", "rapid",  "rowdy",   "rustic",
    "shiny",  "silent",  "sleepy", "sly",    "snug",   "solemn", "sturdy", "subtle",  "swift",  "tidy",    "tiny",
    "upbeat", "vivid",   "wary",   "weary",  "witty",  "woolly", "young",  "zany",    "zesty"};
constexpr std::array nouns = {
    "anvil",  "badger", "bagel",   "banjo",  "beetle", "bicycle", "biscuit", "blanket",  "bonnet",  "bucket",  "button",
    "cactus", "camel",  "candle",  "canoe",  "carpet", "castle",  "cello",   "cobweb",   "comet",   "cricket", "dragon",
    "drum",   "easel",  "fiddle",  "ferret", "goblet", "guitar",  "hammock", "hedgehog", "helmet",  "igloo",   "jigsaw",
    "kettle", "lemon",  "lizard",  "magnet", "mitten", "muffin",  "napkin",  "noodle",   "otter",   "paddle",  "panda",
    "pebble", "pickle", "pigeon",  "pillow", "puppet", "rabbit",  "ribbon",  "rocket",   "saddle",  "sandal",  "scarf",
    "spoon",  "teapot", "trumpet", "tulip",  "turnip", "waffle",  "wallet",  "weasel",   "zeppelin"};

}  // namespace

std::string random_key(Random& random) {
  const std::string adjective = adjectives[random.below(adjectives.size())];
  return adjective + "-" + nouns[random.below(nouns.size())];
}

std::vector<std::string_view> key_words() {
  std::vector<std::string_view> words(adjectives.begin(), adjectives.end());
  words.insert(words.end(), nouns.begin(), nouns.end());
  return words;
}

std::string random_number(Random& random) {
  return std::to_string(1'000'000 + random.below(9'000'000));
}

}  // namespace headroom::tasks
