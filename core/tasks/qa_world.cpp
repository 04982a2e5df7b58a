// SPDX-License-Identifier: Apache-2.0
#include "tasks/qa_world.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

namespace headroom::tasks {
namespace {

using Text = std::string_view;

constexpr auto first_names = std::to_array<Text>(
    {"Orla",     "Tamsin",  "Ivo",      "Bertil", "Maren",   "Odile",  "Casper", "Linnea", "Fabian", "Greta",
     "Hollis",   "Ines",    "Jorun",    "Kaspar", "Ludmila", "Matteo", "Nadia",  "Oskar",  "Petra",  "Quentin",
     "Rosalind", "Stellan", "Thea",     "Ursula", "Viggo",   "Wanda",  "Xenia",  "Yorick", "Zelda",  "Anselm",
     "Brida",    "Corin",   "Delphine", "Emeric", "Freya",   "Gideon", "Hedda",  "Isolde", "Jarvis", "Klara"});
constexpr auto family_begins =
    std::to_array<Text>({"Bram", "Cald", "Dren",  "Fenn", "Gris",  "Hask",  "Inger", "Jell", "Korr", "Lind",
                         "Mox",  "Nor",  "Oster", "Pell", "Quar",  "Rusk",  "Stav",  "Tarn", "Ulm",  "Vask",
                         "Wend", "Yar",  "Zim",   "Ald",  "Brock", "Crane", "Dorn",  "Eck"});
constexpr auto family_ends = std::to_array<Text>({"holt", "well", "mark", "sen", "by", "wick", "stead", "croft", "gate",
                                                  "rup", "hurst", "man", "vik", "ley", "dahl", "combe"});
constexpr auto town_fronts = std::to_array<Text>({"", "Upper ", "Lower ", "New ", "Great ", "Little "});
constexpr auto town_begins =
    std::to_array<Text>({"Aster", "Bell", "Carn",   "Dun",  "Elm", "Farrow", "Glen",  "Hart",  "Iver",  "Kings",
                         "Lang",  "Mar",  "Mallow", "Ox",   "Pen", "Rook",   "Stone", "Thorn", "Under", "Vale",
                         "Win",   "Ash",  "Black",  "Cold", "Dry", "East",   "Fair",  "Grim"});
constexpr auto town_ends = std::to_array<Text>({"bury", "ford", "haven", "minster", "mouth", "port", "ton", "worth",
                                                "thorpe", "field", "brook", "cliffe", "low", "more", "sea", "wold"});
constexpr auto river_begins = std::to_array<Text>({"Ar", "Bel", "Cor", "Des", "Ell", "Fro", "Gar", "Hu", "Is", "Ker",
                                                   "Lo", "Mee", "Ner", "Or",  "Pa",  "Se",  "Ti",  "Ve", "Wo", "Yo"});
constexpr auto river_ends =
    std::to_array<Text>({"lune", "vane", "dra", "mber", "nne", "sca", "thar", "wen", "zel", "ro"});
constexpr auto roles =
    std::to_array<Text>({"glass painter", "botanist", "bell founder", "map maker", "poet", "lock builder",
                         "mathematician", "weaver", "naval architect", "organist", "printer", "geologist",
                         "puppet maker", "lens grinder", "physician", "chess master"});
constexpr auto prizes = std::to_array<Text>({"Silver Compass", "Linden Medal", "Prize of the Four Guilds",
                                             "Golden Quill", "Carver Prize", "Order of the Lantern", "Halberd Medal",
                                             "Blue Ribbon", "Founders' Cup", "Merit Cross of the Isles"});
constexpr auto feats = std::to_array<Text>(
    {"a chart of the northern shoals", "a dictionary of trade terms", "a bridge of forty arches",
     "a cycle of nine songs", "a survey of the moors", "a clock with three dials", "a herbal in two volumes",
     "a theory of tides", "a tapestry for the town hall", "an atlas of the lowlands"});
constexpr auto goods =
    std::to_array<Text>({"woollen blankets", "blue pottery", "smoked cheese", "brass hinges", "straw hats", "violins",
                         "almond cakes", "fishing nets", "painted chests", "copper kettles", "lace collars",
                         "leather gloves", "glass beads", "wooden clogs", "cherry brandy", "iron stoves"});
constexpr auto towers =
    std::to_array<Text>({"Corn Exchange", "Old Signal Tower", "Church of Saint Alban", "Water Tower", "Weavers' Hall",
                         "Northern Lighthouse", "Grain Elevator", "Town Hall", "Observatory", "Gasworks Chimney"});
constexpr auto feasts =
    std::to_array<Text>({"Lantern Fair", "Regatta of the Guilds", "Onion Market", "Kite Week", "Feast of the Ferrymen",
                         "Harvest Parade", "Ice Carnival", "Book Fair", "Procession of Drums", "Night of the Bells"});
constexpr auto works_kinds = std::to_array<Text>({"Foundry", "Paper Mill", "Shipyard", "Brewery", "Glassworks",
                                                  "Ropewalk", "Tannery", "Tile Works", "Spinning Mill", "Dye House"});
constexpr auto works_begins =
    std::to_array<Text>({"Albion",   "Beacon", "Crown",    "Dolphin", "Eagle",   "Fountain", "Globe", "Hercules",
                         "Imperial", "Juno",   "Keystone", "Lion",    "Mercury", "Neptune",  "Orion", "Phoenix",
                         "Regent",   "Saturn", "Titan",    "Union",   "Victory", "Wyvern"});
constexpr auto works_middles =
    std::to_array<Text>({"Hill", "Lane", "Street", "Bridge", "Quay", "Meadow", "Corner", "Square", "Wharf", "Green"});

Text pick(std::span<const Text> list, Random& random) {
  return list[random.below(list.size())];
}

std::size_t people_names() {
  return first_names.size() * family_begins.size() * family_ends.size();
}
std::string person_name(std::size_t i) {
  const std::string first(first_names[i % first_names.size()]);
  i /= first_names.size();
  return first + " " + std::string(family_begins[i % family_begins.size()]) +
         std::string(family_ends[i / family_begins.size() % family_ends.size()]);
}
std::size_t town_names() {
  return town_fronts.size() * town_begins.size() * town_ends.size();
}
std::string town_name(std::size_t i) {
  const std::string front(town_fronts[i % town_fronts.size()]);
  i /= town_fronts.size();
  return front + std::string(town_begins[i % town_begins.size()]) +
         std::string(town_ends[i / town_begins.size() % town_ends.size()]);
}
std::size_t works_names() {
  return works_begins.size() * works_middles.size() * works_kinds.size();
}
std::string works_name(std::size_t i) {
  const std::string begin(works_begins[i % works_begins.size()]);
  i /= works_begins.size();
  return begin + " " + std::string(works_middles[i % works_middles.size()]) + " " +
         std::string(works_kinds[i / works_middles.size() % works_kinds.size()]);
}

std::vector<std::uint32_t> indices(std::size_t count) {
  std::vector<std::uint32_t> list(count);
  std::iota(list.begin(), list.end(), 0u);
  return list;
}

std::string text_of(std::int64_t number) {
  return std::to_string(number);
}

std::string with_article(const std::string& noun) {
  const bool vowel = std::string_view("aeio").find(noun[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + noun;
}

}  // namespace

QaWorld::QaWorld(Random random)
    : random_(random),
      people_(indices(people_names())),
      towns_(indices(town_names())),
      works_(indices(works_names())) {}

std::string QaWorld::new_name(std::vector<std::uint32_t>& order, std::size_t& taken,
                              std::string (*spell)(std::size_t)) {
  while (true) {
    const std::size_t place = taken % order.size();  // beyond the last they begin again
    if (taken < order.size()) std::swap(order[place], order[place + random_.below(order.size() - place)]);
    ++taken;
    std::string name = spell(order[place]);
    if (!kept_.contains(name)) return name;
  }
}

std::string QaWorld::any_person() {
  while (true) {
    std::string name = person_name(random_.below(people_names()));
    if (!kept_.contains(name)) return name;
  }
}

std::string QaWorld::any_town() {
  while (true) {
    std::string name = town_name(random_.below(town_names()));
    if (!kept_.contains(name)) return name;
  }
}

std::int64_t QaWorld::between(std::int64_t lowest, std::int64_t highest) {
  return lowest + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(highest - lowest + 1)));
}

QaPerson QaWorld::person() {
  QaPerson made;
  const std::string name = new_name(people_, people_taken_, person_name);
  made.first = name.substr(0, name.find(' '));
  made.last = name.substr(name.find(' ') + 1);
  made.role = pick(roles, random_);
  made.birthplace = any_town();
  made.teacher = any_person();
  made.prize = pick(prizes, random_);
  made.residence = any_town();
  made.work = pick(feats, random_);
  made.born = between(1641, 1869);
  made.finished = made.born + between(28, 45);
  made.died = made.finished + between(5, 30);
  made.collected = between(112, 986);
  return made;
}

QaTown QaWorld::town() {
  QaTown made;
  made.name = new_name(towns_, towns_taken_, town_name);
  made.river = std::string(pick(river_begins, random_)) + std::string(pick(river_ends, random_));
  made.product = pick(goods, random_);
  made.tower = pick(towers, random_);
  made.feast = pick(feasts, random_);
  made.mayor = any_person();
  made.founded = between(1102, 1598);
  made.inhabitants = between(1203, 48790);
  made.height = between(31, 97);
  return made;
}

QaWorks QaWorld::works() {
  QaWorks made;
  made.name = new_name(works_, works_taken_, works_name);
  made.town = any_town();
  made.founder = any_person();
  made.product = pick(goods, random_);
  made.model = std::string(pick(works_begins, random_)) + " No. " + text_of(between(2, 99));
  made.later_town = any_town();
  made.opened = between(1701, 1860);
  made.hands = between(24, 1480);
  made.closed = made.opened + between(40, 120);
  return made;
}

Article QaWorld::article() {
  switch (random_.below(3)) {
    case 0:
      return about(person());
    case 1:
      return about(town());
    default:
      return about(works());
  }
}

Article QaWorld::about(const QaPerson& p) {
  return {p.name(),
          {p.name() + " was " + with_article(p.role) + " who was born in " + p.birthplace + " in the year " +
               text_of(p.born) + ".",
           p.first + " learned the trade from " + p.teacher + " and later lived in " + p.residence + ".",
           "In " + text_of(p.finished) + " " + p.last + " completed " + p.work + ".",
           "For this " + p.last + " received the " + p.prize + " in the following year.",
           "A collection of " + text_of(p.collected) + " letters by " + p.first + " " + p.last + " has survived.",
           p.last + " died in " + text_of(p.died) + " after a short illness."}};
}

Article QaWorld::about(const QaTown& t) {
  return {t.name,
          {t.name + " is a town on the river " + t.river + " with " + text_of(t.inhabitants) + " inhabitants.",
           "It was founded in " + text_of(t.founded) + " at an old river crossing.",
           "The town is known for its " + t.product + ", sold all over the country.",
           "The tallest building of " + t.name + " is the " + t.tower + ", " + text_of(t.height) + " metres high.",
           "Once a year the " + t.feast + " fills its streets with visitors.",
           "The first mayor of " + t.name + " was " + t.mayor + "."}};
}

Article QaWorld::about(const QaWorks& w) {
  return {w.name,
          {"The " + w.name + " was opened in " + w.town + " in the year " + text_of(w.opened) + ".",
           "Its founder was " + w.founder + ", who had inherited a small fortune.",
           "At first it turned out " + w.product + " for the export trade.",
           "At its height " + text_of(w.hands) + " people worked there in two shifts.",
           "After a fire the " + w.name + " was moved to " + w.later_town + ", where it built the " + w.model + ".",
           "It closed in " + text_of(w.closed) + " when demand had fallen."}};
}

Draft qa_prompt(const QaQuestion& question, QaWorld& world, const Request& request, Random places) {
  constexpr std::int64_t per_article = 6;
  const std::int64_t others = (request.units + per_article - 1) / per_article;
  std::vector<double> depths;
  for (std::size_t i = 0; i < question.articles.size(); ++i) depths.push_back(places.uniform());
  std::sort(depths.begin(), depths.end());
  std::vector<Article> own = question.articles;
  shuffle(own, places);

  Draft draft;
  std::string& prompt = draft.sample.prompt;
  prompt =
      "Answer the question at the end from the documents below. Give the answer alone, in as few words as it "
      "takes.\n\n";
  std::int64_t number = 0, left = request.units;
  const auto put = [&](const Article& article, std::int64_t sentences) {
    prompt += "Document " + std::to_string(++number) + ": " + article.title + "\n";
    for (std::int64_t i = 0; i < sentences; ++i)
      prompt += article.sentences[static_cast<std::size_t>(i)] + (i + 1 == sentences ? "\n\n" : " ");
  };
  std::size_t next = 0;
  for (std::int64_t i = 0; i <= others; ++i) {
    for (; next < own.size() && static_cast<std::int64_t>(depths[next] * static_cast<double>(others + 1)) <= i; ++next)
      put(own[next], static_cast<std::int64_t>(own[next].sentences.size()));
    if (i == others) break;
    put(world.article(), std::min(left, per_article));
    left -= per_article;
  }
  draft.pad_at = prompt.size();
  prompt += "Question: " + question.text;
  draft.sample.answer_prefix = " Answer:";
  draft.sample.references = question.answers;
  return draft;
}

}  // namespace headroom::tasks
