// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/talk_html.h"

#include <QBuffer>
#include <QCoreApplication>
#include <QFile>
#include <QThread>
#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/talk_slides.h"
#include "gui/wait_for_worker.h"
#include "protocol/base64.h"
#include "views/common/format.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/map/attention_page.h"
#include "views/talk/talk_check.h"

namespace headroom::gui {
namespace {

using nlohmann::json;
constexpr double lowest_log = -12, most_grid_work = 3e10;
constexpr std::int64_t longest_marked = 16384;  // supports of a whole longer map are read for minutes
constexpr std::int64_t most_tokens_named = 65536;

std::string data_url(const QByteArray& bytes, const char* type) {
  return std::string("data:") + type + ";base64," + bytes.toBase64().toStdString();
}

std::string text_of(const QString& text) {
  return text.toStdString();
}

template <typename Code>
std::string codes_text(const std::vector<Code>& codes) {
  static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");
  return protocol::base64_encode({reinterpret_cast<const std::uint8_t*>(codes.data()), codes.size() * sizeof(Code)});
}

/// Cells of a row that begin at or before its last query.
std::int64_t kept_of_row(const HtmlGrid& grid, std::int64_t row) {
  const std::int64_t last = grid.query + (row + 1) * grid.cell - 1;
  if (last < grid.key) return 0;
  return std::min(grid.columns, (last - grid.key) / grid.cell + 1);
}

template <typename At>
void fill_grid(HtmlGrid& grid, At&& at) {
  for (std::int64_t row = 0; row < grid.rows; ++row)
    for (std::int64_t column = 0; column < kept_of_row(grid, row); ++column) {
      const auto [max, mean] = at(row, column);
      grid.max.push_back(code_of(max));
      grid.mean.push_back(code_of(mean));
    }
}

HtmlGrid thumbnail_grid(const record::Thumbnail& thumbnail) {
  HtmlGrid grid{0, 0, thumbnail.cell, thumbnail.size, thumbnail.size, {}, {}};
  fill_grid(grid, [&](std::int64_t row, std::int64_t column) {
    const auto i = static_cast<std::size_t>(row * thumbnail.size + column);
    return std::pair(thumbnail.max[i], thumbnail.mean[i]);
  });
  return grid;
}

/// The cells of a level that cover [query, query_end) x [key, key_end), which are multiples of the cell.
HtmlGrid stream_grid(const record::LayerStream& stream, record::HeadSelector head, int level, std::int64_t query,
                     std::int64_t query_end, std::int64_t key, std::int64_t key_end, std::stop_token stop) {
  const std::int64_t cell = std::int64_t{1} << level, side = record::tile_size;
  HtmlGrid grid{query, key, cell, (query_end - query + cell - 1) / cell, (key_end - key + cell - 1) / cell, {}, {}};
  const std::int64_t row0 = query / cell, column0 = key / cell;
  std::map<std::pair<std::int64_t, std::int64_t>, record::Tile> tiles;
  fill_grid(grid, [&](std::int64_t row, std::int64_t column) {
    const std::int64_t y = row0 + row, x = column0 + column;
    const std::pair address(y / side, x / side);
    auto at = tiles.find(address);
    if (at == tiles.end()) {
      if (stop.stop_requested()) throw cancelled_error();
      at = tiles.emplace(address, record::compute_tile(stream, head, {level, address.first, address.second}, stop))
               .first;
    }
    const record::Tile& tile = at->second;
    const std::int64_t r = y % side, c = x % side;
    if (r >= tile.rows || c >= tile.columns) return std::pair(0.0f, 0.0f);
    const auto i = static_cast<std::size_t>(r * tile.columns + c);
    return std::pair(tile.max[i], tile.mean[i]);
  });
  return grid;
}

/// Marks of the grid's cells, which must be those of a level.
void add_marks(HtmlGrid& grid, const views::MapData& map, double missed_from, std::stop_token stop) {
  const auto cell = static_cast<std::uint64_t>(grid.cell);
  if (!map.has_overlay() || !std::has_single_bit(cell) || grid.query % grid.cell || grid.key % grid.cell) return;
  const std::int64_t pairs = grid.rows * grid.cell;
  if (pairs > longest_marked) return;
  const int level = std::countr_zero(cell);
  const std::int64_t side = record::tile_size, row0 = grid.query / grid.cell, column0 = grid.key / grid.cell;
  std::map<std::pair<std::int64_t, std::int64_t>, record::OverlayTile> tiles;
  for (std::int64_t row = 0; row < grid.rows; ++row)
    for (std::int64_t column = 0; column < kept_of_row(grid, row); ++column) {
      const std::int64_t y = row0 + row, x = column0 + column;
      const std::pair address(y / side, x / side);
      auto at = tiles.find(address);
      if (at == tiles.end()) {
        if (stop.stop_requested()) throw cancelled_error();
        record::OverlayTile tile =
            record::compute_overlay(*map.support, *map.target, map.wasted.get(), {level, address.first, address.second},
                                    map.stream ? map.stream->query_begin : 0, stop);
        if (map.stream)
          record::add_missed_mass(tile, *map.stream, map.source.head, *map.support, *map.target, most_grid_work, stop);
        at = tiles.emplace(address, std::move(tile)).first;
      }
      const record::OverlayTile& tile = at->second;
      const std::int64_t r = y % side, c = x % side;
      std::uint8_t mark = 0;
      if (r < tile.rows && c < tile.columns) {
        const auto i = static_cast<std::size_t>(r * tile.columns + c);
        const bool enough =
            tile.missed_mass.empty() ? tile.missed[i] > 0 : static_cast<double>(tile.missed_mass[i]) >= missed_from;
        mark = static_cast<std::uint8_t>((tile.hit[i] ? html_hit : 0) | (tile.missed[i] && enough ? html_missed : 0) |
                                         (tile.wasted[i] ? html_wasted : 0));
      }
      grid.marks.push_back(mark);
    }
}

int level_for(std::int64_t span) {
  int level = 0;
  while (((span + (std::int64_t{1} << level) - 1) >> level) > html_grid_cells - 1) ++level;
  return level;
}

std::vector<HtmlGrid> make_grids(const views::MapData& map, const views::Viewport& viewport, double missed_from,
                                 std::stop_token stop) {
  std::vector<HtmlGrid> grids;
  const std::int64_t length = map.length;
  const auto inside = [length](double edge) {
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(edge)), 0, length);
  };
  std::int64_t query = inside(viewport.query_begin), query_end = inside(std::ceil(viewport.query_end));
  std::int64_t key = inside(viewport.key_begin), key_end = inside(std::ceil(viewport.key_end));
  if (map.stream && query_end > query && key_end > key) {
    int level = level_for(std::max(query_end - query, key_end - key));
    const std::int64_t cell = std::int64_t{1} << level;
    query = query / cell * cell;
    key = key / cell * cell;
    const double heads =
        map.source.head.kind == record::HeadSelector::Kind::head ? 1.0 : static_cast<double>(map.stream->num_q_heads);
    const double work = static_cast<double>(query_end - query) * static_cast<double>(key_end - key) * heads *
                        static_cast<double>(map.stream->head_dim);
    const bool finer = !map.thumbnail || cell < map.thumbnail->cell;
    if (finer && work <= most_grid_work)
      grids.push_back(stream_grid(*map.stream, map.source.head, level, query, query_end, key, key_end, stop));
  }
  if (map.thumbnail) {
    grids.push_back(thumbnail_grid(*map.thumbnail));
  } else if (map.stream) {
    const double all = static_cast<double>(length) * static_cast<double>(length) / 2 *
                       static_cast<double>(map.stream->num_q_heads * map.stream->head_dim);
    if (all <= most_grid_work)
      grids.push_back(stream_grid(*map.stream, map.source.head, level_for(length), 0, length, 0, length, stop));
  }
  for (HtmlGrid& grid : grids) add_marks(grid, map, missed_from, stop);
  return grids;
}

json token_texts(const record::RunRecord& record, const views::Viewport& view, std::int64_t& first, bool& all) {
  const std::int64_t length = record.length();
  first = 0;
  std::int64_t end = length;
  all = length <= most_tokens_named;
  if (!all) {  // those that the step shows
    first = std::clamp<std::int64_t>(static_cast<std::int64_t>(view.key_begin), 0, length - 1);
    end = std::min(length, first + most_tokens_named);
  }
  auto list = json::array();
  for (std::int64_t token = first; token < end; ++token)
    list.push_back(text_of(views::token_label(record.tokens(), token)));
  return list;
}

/// The file in the making.
struct HtmlPage {
  json root = {{"steps", json::array()}, {"maps", json::object()}, {"records", json::array()}};
  std::map<const record::RunRecord*, std::size_t> records;
  std::map<std::string, std::string> maps;  ///< grids by what they are of
  bool tokens_left_out = false, coarse = false;
  std::size_t bytes = 0;

  std::size_t record(const views::RecordPtr& record, const views::Viewport& view) {
    const auto [at, added] = records.try_emplace(record.get(), records.size());
    if (added) {
      std::int64_t first = 0;
      bool all = true;
      json tokens = token_texts(*record, view, first, all);
      tokens_left_out |= !all;
      root["records"].push_back({{"tokens", std::move(tokens)}, {"first_token", first}});
    }
    return at->second;
  }
  void count(const std::string& text) {
    bytes += text.size();
    if (bytes > most_html_bytes)
      throw input_error({}, "the file would be too large", "at most 64 MiB", "more: fewer steps, or a PDF");
  }
};

std::string grid_text(const std::vector<HtmlGrid>& grids, json& list) {
  std::string all;
  for (const HtmlGrid& grid : grids) {
    list.push_back({{"query", grid.query},
                    {"key", grid.key},
                    {"cell", grid.cell},
                    {"rows", grid.rows},
                    {"columns", grid.columns},
                    {"max", codes_text(grid.max)},
                    {"mean", codes_text(grid.mean)}});
    if (!grid.marks.empty()) list.back()["marks"] = codes_text(grid.marks);
    all += list.back().dump();
  }
  return all;
}

/// False where the record holds no map of it: a picture takes its place.
bool add_map(HtmlPage& page, json& step, TalkSlide& slide, const TalkExport& job) {
  const views::ViewState& state = slide.state();
  const views::RecordPtr record = state.runs[static_cast<std::size_t>(state.current)];
  const views::MapSource source{record, state.method, state.layer, state.head};
  std::stop_source stop;
  auto running = views::in_worker([source, token = stop.get_token()] { return views::load_map_data(source, token); });
  const views::MapDataPtr map = wait_for_worker(running, stop, job.given_up);
  if (!map || (job.given_up && job.given_up())) throw cancelled_error();
  if (!map->problem.isEmpty()) throw input_error({}, map->problem.toStdString());
  const std::vector<HtmlGrid> grids = html_grids(*map, state.viewport, state.display.missed_from, job.given_up);
  if (grids.empty()) return false;
  json list = json::array();
  const std::string text = grid_text(grids, list);
  const auto [at, added] = page.maps.try_emplace(text, "m" + std::to_string(page.maps.size()));
  if (added) {
    page.root["maps"][at->second] = std::move(list);
    page.count(text);
  }
  const std::int64_t finest = grids.front().cell;
  QString note = QObject::tr("%1, layer %2, %3: attention probability, colours logarithmic from %4 to %5. ")
                     .arg(state.method)
                     .arg(state.layer)
                     .arg(views::head_name(source), views::format_scale_end(state.colour_min),
                          views::format_scale_end(state.colour_max));
  note += finest == 1
              ? QObject::tr(
                    "Where the step looks, cells are single pairs of tokens; elsewhere the largest p of "
                    "%1 × %1 pairs.")
                    .arg(grids.back().cell)
              : QObject::tr("The finest cells in this file are %1 × %1 pairs; a cell shows its largest p.").arg(finest);
  if (grids.size() == 1 && finest == 1 && map->length <= html_grid_cells)
    note = note.section(". ", 0, 0) + ". " + QObject::tr("Cells are single pairs of tokens.");
  if (state.display.mode == views::MapMode::lift)
    note += " " + QObject::tr("The step itself shows lift over uniform: see As presented.");
  if (state.display.mode == views::MapMode::rank)
    note += " " + QObject::tr("The step itself shows ranks: see As presented.");
  const bool marked = std::any_of(grids.begin(), grids.end(), [](const HtmlGrid& grid) { return !grid.marks.empty(); });
  if (marked)
    note += " " + QObject::tr(
                      "Orange: missed keys, where a cell misses at least %1 of what a query reads; outlined: "
                      "hits; hatched: wasted keys.")
                      .arg(views::format_scale_end(state.display.missed_from, 2));
  else if (map->has_overlay())
    note += " " + QObject::tr("Marks of hit, missed and wasted keys are in the picture, not on this map.");
  page.coarse |= finest > 1;
  const views::DisplayState& display = state.display;
  json marks = nullptr;  // which are shown at first
  if (marked)
    marks = {{"hit", display.hit},
             {"missed", display.missed.value_or(views::missed_matters(*map))},
             {"wasted", display.wasted}};
  step["map"] = {
      {"marks", marks},
      {"grids", at->second},
      {"record", page.record(record, state.viewport)},
      {"length", map->length},
      {"low", state.colour_min},
      {"high", state.colour_max},
      {"view",
       {state.viewport.query_begin, state.viewport.query_end, state.viewport.key_begin, state.viewport.key_end}},
      {"what",
       text_of(QObject::tr("%1, layer %2, %3").arg(state.method).arg(state.layer).arg(views::head_name(source)))},
      {"note", text_of(note)}};
  return true;
}

/// False where the record holds no curves, or the step shows a sweep.
bool add_budget(json& step, const TalkSlide& slide) {
  const views::ViewState& state = slide.state();
  if (views::shows_sweep(state) || state.current < 0) return false;  // a picture of the sweep
  const views::RecordPtr record = state.runs[static_cast<std::size_t>(state.current)];
  const views::DisplayState& display = state.display;
  const record::MethodSummary* stream = record->find_method(display.curve_stream.toStdString());
  if (!stream) stream = views::dense_of(*record);
  if (!stream && !record->methods().empty()) stream = &record->methods().front();
  const auto stored = stream ? record->mass_curves(stream->id) : nullptr;
  if (!stored) return false;
  const int layer = display.curve_scope == -2 ? state.layer : display.curve_scope;
  const views::RecallCurves curves = views::recall_curves(*record, *stored, layer);
  if (curves.empty()) return false;
  json markers = json::array();
  for (const auto& method : record->methods()) {
    const auto keys = views::budget_keys(method);
    if (!keys || !std::isfinite(method.captured_mass_mean)) continue;
    markers.push_back({{"name", text_of(views::method_label(*record, method))},
                       {"keys", *keys},
                       {"captured", method.captured_mass_mean},
                       {"colour", text_of(views::Theme::instance().method(method.look).name())}});
  }
  step["budget"] = {
      {"length", record->length()},
      {"budget", state.budget},
      {"budgets", curves.budgets},
      {"mean", curves.mean},
      {"p10", curves.p10},
      {"low", curves.low},
      {"worst_head", curves.worst_head},
      {"p10_name", layer >= 0 ? "p10 row" : "p10, worst layer"},
      {"low_name", layer >= 0 ? "worst row" : "worst layer"},
      {"markers", markers},
      {"note", text_of(QObject::tr("Mass recall from the stream of %1, %2, of one prompt. Computed from mass alone, no "
                                   "key forced: not a quality result.")
                           .arg(views::method_label(*record, *stream),
                                layer >= 0 ? QObject::tr("layer %1").arg(layer) : QObject::tr("all full layers")))}};
  return true;
}

std::string picture_of(TalkSlide& slide, double scale) {
  std::stop_source never;
  const QImage picture = slide.picture(scale);
  return wait_for_worker(views::in_worker([picture] {
                           QBuffer bytes;
                           bytes.open(QIODevice::WriteOnly);
                           picture.save(&bytes, "PNG");
                           return data_url(bytes.data(), "image/png");
                         }),
                         never, {});
}

std::uint32_t pixel_of(QRgb colour) {  // as a canvas has it: red lowest
  return 0xff000000u | static_cast<std::uint32_t>(qBlue(colour)) << 16 |
         static_cast<std::uint32_t>(qGreen(colour)) << 8 | static_cast<std::uint32_t>(qRed(colour));
}

QByteArray colour_rules() {
  const views::Theme& theme = views::Theme::instance();
  QStringList rules;
  for (const auto& [name, colour] : {std::pair{"background", theme.background()},
                                     {"text", theme.text()},
                                     {"panel", theme.panel()},
                                     {"border", theme.border()},
                                     {"muted", theme.muted_text()},
                                     {"accent", theme.accent()},
                                     {"mass", theme.mass()}})
    rules << QString("--%1: %2;").arg(name, colour.name());
  return rules.join(' ').toUtf8();
}

}  // namespace

std::uint16_t code_of(float probability) {
  if (!(probability >= 1e-12f)) return 0;  // NaN is not kept
  const double log = std::log10(std::min(1.0, static_cast<double>(probability)));
  return static_cast<std::uint16_t>(1 + std::lround((log - lowest_log) / -lowest_log * 65534));
}

double probability_of(std::uint16_t code) {
  return code == 0 ? 0 : std::pow(10.0, lowest_log - lowest_log * (code - 1) / 65534);
}

std::vector<HtmlGrid> html_grids(const views::MapData& map, const views::Viewport& viewport, double missed_from,
                                 const std::function<bool()>& given_up) {
  std::stop_source stop;
  // Exact tiles take their time: the window's thread goes on meanwhile.
  auto running = views::in_worker(
      [&map, viewport, missed_from, token = stop.get_token()]() -> std::optional<std::vector<HtmlGrid>> {
        try {
          return make_grids(map, viewport, missed_from, token);
        } catch (const Error&) {
          return std::nullopt;  // stopped
        }
      });
  auto grids = wait_for_worker(running, stop, given_up);
  if (!grids) throw cancelled_error();
  return *std::move(grids);
}

QByteArray html_of(const TalkExport& job, QString& note) {
  QFile file(":/talk/talk.html");
  if (!file.open(QIODevice::ReadOnly)) throw Error(ErrorKind::internal, "the page's template is missing");
  QByteArray blank = file.readAll();
  HtmlPage page;
  const QString title = job.talk.title.isEmpty() ? QObject::tr("Talk") : job.talk.title;
  page.root["title"] = text_of(title);
  for (const QRgb colour : views::cividis()) page.root["colours"].push_back(pixel_of(colour));
  page.root["empty"] = pixel_of(views::Theme::instance().panel().rgb());
  page.root["mark_colours"] = {{"missed", pixel_of(views::Theme::instance().missed().rgb())},
                               {"wasted", pixel_of(views::Theme::instance().wasted().rgb())},
                               {"hit", pixel_of(views::Theme::instance().map_outline().rgb())}};
  for (int number = 0; number < static_cast<int>(job.talk.steps.size()); ++number) {
    if (job.progress) job.progress(number + 1, static_cast<int>(job.talk.steps.size()));
    if (job.given_up && job.given_up()) throw cancelled_error();
    TalkSlide slide(job, number, 2);
    const views::TalkStep& one = slide.step();
    json step = {{"title", text_of(one.title)}, {"caption", text_of(one.caption)}, {"notes", text_of(one.notes)}};
    step["provenance"] = text_of(slide.provenance_line());
    const bool live = (one.page == "attention" && add_map(page, step, slide, job)) ||
                      (one.page == "budget" && add_budget(step, slide));
    if (one.page == "attention" && live) {
      step["picture"] = picture_of(slide, 1);
    } else if (!live) {
      const QByteArray svg = slide.svg();
      step["picture"] = svg.size() <= 3 << 20 ? data_url(svg, "image/svg+xml") : picture_of(slide, 2);
    }
    page.count(step.dump(-1, ' ', false, json::error_handler_t::replace));
    page.root["steps"].push_back(std::move(step));
  }
  std::string data = page.root.dump(-1, ' ', false, json::error_handler_t::replace);
  // A caption may say "</script>".
  std::string safe;
  safe.reserve(data.size());
  for (const char c : data) {
    if (c == '<')
      safe += "\\u003c";
    else
      safe += c;
  }
  // In the template's order, and what is put in is not looked at again.
  QByteArray html;
  for (const auto& [mark, text] : {std::pair<QByteArray, QByteArray>{"@TITLE@", title.toHtmlEscaped().toUtf8()},
                                   {"@COLOURS@", colour_rules()},
                                   {"@DATA@", QByteArray::fromStdString(safe)}}) {
    const auto at = blank.indexOf(mark);
    html += blank.left(at) + text;
    blank.remove(0, at + mark.size());
  }
  html += blank;
  if (page.coarse) note = QObject::tr("Some maps are kept as blocks of tokens; each says so.");
  if (page.tokens_left_out)
    note += (note.isEmpty() ? QString() : QStringLiteral(" ")) +
            QObject::tr("Of long prompts only %1 tokens are named.").arg(views::format_count(most_tokens_named));
  if (static_cast<std::size_t>(html.size()) > most_html_bytes)
    throw input_error({}, "the file would be too large", "at most 64 MiB", "more: fewer steps, or a PDF");
  return html;
}

}  // namespace headroom::gui
