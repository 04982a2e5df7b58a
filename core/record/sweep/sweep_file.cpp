// SPDX-License-Identifier: Apache-2.0
#include "record/sweep/sweep_file.h"

#include <cerrno>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "record/hdf5_io.h"
#include "record/record_file.h"
#include "record/sealed_file.h"

namespace headroom::record {
namespace {

constexpr const char* settings_path = "/sweep/json";
constexpr std::int64_t most_rows = 4'000'000, most_distances = 400'000'000, most_text = 1LL << 30,
                       most_settings = 64LL << 20;
constexpr double absent = std::numeric_limits<double>::quiet_NaN();

std::string row_path(const char* name) {
  return std::string("/rows/") + name;
}

/// Writes columns into an open file.
class SweepWriter {
 public:
  SweepWriter(hid_t file, std::string place, const SweepRecord& record)
      : file_(file), place_(std::move(place)), record_(record) {}

  void write() {
    hdf5::write_text(file_, settings_path,
                     to_json(record_.meta).dump(1, ' ', false, nlohmann::json::error_handler_t::replace), place_);
    write_rows();
    write_curves();
  }

 private:
  template <typename T, typename Value>
  void column(const char* name, Value&& value) {
    std::vector<T> values;
    values.reserve(record_.rows.size());
    for (const SweepRow& row : record_.rows) values.push_back(static_cast<T>(value(row)));
    hdf5::write<T>(file_, row_path(name), {std::ssize(values)}, values, place_);
  }

  void write_rows() {
    column<std::int32_t>("task", [](const SweepRow& row) { return row.sample.task; });
    column<std::int64_t>("length", [](const SweepRow& row) { return row.sample.length; });
    column<std::int64_t>("seed", [](const SweepRow& row) { return row.sample.seed; });
    column<std::uint8_t>("calibration", [](const SweepRow& row) { return row.sample.calibration; });
    column<std::int32_t>("method", [](const SweepRow& row) { return row.method; });
    column<std::int64_t>("tokens", [](const SweepRow& row) { return row.tokens; });
    column<double>("score", [](const SweepRow& row) { return row.score.value_or(absent); });
    column<double>("density", [](const SweepRow& row) { return row.density; });
    const auto forced = [&](const char* name, auto&& value) {
      column<double>(name, [&](const SweepRow& row) { return row.forced ? value(*row.forced) : absent; });
    };
    column<std::int64_t>("positions", [](const SweepRow& row) { return row.forced ? row.forced->positions : 0; });
    column<std::int64_t>("top1_flips", [](const SweepRow& row) { return row.forced ? row.forced->top1_flips : 0; });
    column<std::int64_t>("first_divergence", [](const SweepRow& row) {
      return row.forced ? row.forced->first_divergence.value_or(-1) : -1;
    });
    forced("kl_mean", [](const SweepForced& f) { return f.kl_mean; });
    forced("kl_p95", [](const SweepForced& f) { return f.kl_p95; });
    forced("nll_mean", [](const SweepForced& f) { return f.nll_mean; });
    column<double>("prompt_nll", [](const SweepRow& row) { return row.prompt_nll.value_or(absent); });
    column<double>("prompt_kl", [](const SweepRow& row) { return row.prompt_kl.value_or(absent); });
    column<std::uint8_t>("answer_cut", [](const SweepRow& row) { return row.answer_cut; });
    std::string answers;
    column<std::int64_t>("answer_end", [&](const SweepRow& row) { return std::ssize(answers += row.answer); });
    hdf5::write_text(file_, row_path("answers"), answers, place_);
    std::vector<float> distances;
    const std::int64_t layers = record_.meta.num_layers();
    for (const SweepRow& row : record_.rows) {
      if (row.output_l2.empty())
        distances.insert(distances.end(), static_cast<std::size_t>(layers), std::numeric_limits<float>::quiet_NaN());
      else
        distances.insert(distances.end(), row.output_l2.begin(), row.output_l2.end());
    }
    hdf5::write<float>(file_, row_path("output_l2"), {std::ssize(record_.rows), layers}, distances, place_);
  }

  void write_curves() {
    const auto count = std::ssize(record_.curves);
    std::int64_t width = 0;
    for (const SweepCurves& curves : record_.curves) width = std::max(width, std::ssize(curves.budgets));
    const auto list = [&](const char* name, auto&& value) {
      std::vector<std::int64_t> values;
      for (const SweepCurves& curves : record_.curves) values.push_back(static_cast<std::int64_t>(value(curves)));
      hdf5::write<std::int64_t>(file_, std::string("/curves/") + name, {count}, values, place_);
    };
    list("task", [](const SweepCurves& c) { return c.sample.task; });
    list("length", [](const SweepCurves& c) { return c.sample.length; });
    list("seed", [](const SweepCurves& c) { return c.sample.seed; });
    list("calibration", [](const SweepCurves& c) { return c.sample.calibration; });
    list("tokens", [](const SweepCurves& c) { return c.tokens; });
    list("budget_count", [](const SweepCurves& c) { return c.budgets.size(); });
    const std::int64_t layers = record_.meta.num_layers();
    std::vector<std::int64_t> budgets;
    std::vector<float> values;
    for (const SweepCurves& curves : record_.curves) {
      const std::int64_t own = std::ssize(curves.budgets);
      budgets.insert(budgets.end(), curves.budgets.begin(), curves.budgets.end());
      budgets.resize(budgets.size() + static_cast<std::size_t>(width - own), 0);
      for (auto row = curves.values.begin(); row != curves.values.end(); row += own) {
        values.insert(values.end(), row, row + own);
        values.resize(values.size() + static_cast<std::size_t>(width - own), std::numeric_limits<float>::quiet_NaN());
      }
    }
    hdf5::write<std::int64_t>(file_, "/curves/budgets", {count, width}, budgets, place_);
    hdf5::write<float>(file_, "/curves/values", {count, layers, 3, width}, values, place_);
  }

  hid_t file_;
  std::string place_;
  const SweepRecord& record_;
};

class SweepReader {
 public:
  explicit SweepReader(const RecordFile& file) : file_(file) {}

  SweepRecord read() {
    const std::string place = file_.place() + ":" + settings_path;
    record_.meta = sweep_meta_from_json(parse_json(file_.read_text(settings_path, most_settings), place, 8), place);
    for (const SweepSample& sample : own_samples(record_.meta)) samples_.insert(sample);
    read_rows();
    read_curves();
    if (record_.meta.complete && !has_all_rows(record_))
      throw input_error(place, "says that it is complete, but rows are missing");
    return std::move(record_);
  }

 private:
  template <typename T>
  std::vector<T> column(const char* name) {
    return file_.read_all<T>(row_path(name), {rows_});
  }
  [[noreturn]] void refuse(const std::string& dataset, std::size_t row, const std::string& why) const {
    throw input_error(file_.place() + ":" + dataset, "row " + std::to_string(row) + " " + why);
  }
  void check_sample(const std::string& dataset, std::size_t row, const SweepSample& sample) const {
    if (!samples_.contains(sample)) refuse(dataset, row, "is of no sample of this sweep");
  }

  void read_rows() {
    const auto lengths = file_.read_all<std::int64_t>(row_path("length"), {-1}, most_rows);
    rows_ = std::ssize(lengths);
    const auto tasks = column<std::int32_t>("task"), methods = column<std::int32_t>("method");
    const auto seeds = column<std::int64_t>("seed"), tokens = column<std::int64_t>("tokens"),
               positions = column<std::int64_t>("positions"), flips = column<std::int64_t>("top1_flips"),
               divergence = column<std::int64_t>("first_divergence"), ends = column<std::int64_t>("answer_end");
    const auto calibration = column<std::uint8_t>("calibration"), cut = column<std::uint8_t>("answer_cut");
    const auto score = column<double>("score"), density = column<double>("density"),
               kl_mean = column<double>("kl_mean"), kl_p95 = column<double>("kl_p95"), nll = column<double>("nll_mean"),
               prompt_nll = column<double>("prompt_nll"), prompt_kl = column<double>("prompt_kl");
    const std::string answers = file_.read_text(row_path("answers"), most_text);
    const std::int64_t layers = record_.meta.num_layers();
    if (rows_ * layers > most_distances) throw input_error(file_.place() + ":/rows/output_l2", "is too large");
    const auto distances = file_.read_all<float>(row_path("output_l2"), {rows_, layers});
    std::set<std::pair<SweepSample, std::size_t>> keys;
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      SweepRow row;
      if (tasks[i] < 0 || tasks[i] >= std::ssize(record_.meta.tasks)) refuse("/rows/task", i, "names no task");
      if (methods[i] < 0 || methods[i] >= std::ssize(record_.meta.methods))
        refuse("/rows/method", i, "names no method");
      row.sample = {static_cast<std::size_t>(tasks[i]), lengths[i], seeds[i], calibration[i] != 0};
      row.method = static_cast<std::size_t>(methods[i]);
      check_sample("/rows/seed", i, row.sample);
      if (row.sample.calibration && row.method != 0)
        refuse("/rows/method", i, "is calibration of another method than dense");
      if (!keys.insert({row.sample, row.method}).second) refuse("/rows/seed", i, "is there twice");
      if (tokens[i] < 1) refuse("/rows/tokens", i, "has no token");
      if (ends[i] < begin || ends[i] > std::ssize(answers)) refuse("/rows/answer_end", i, "ends outside the answers");
      row.tokens = tokens[i];
      if (!std::isnan(score[i])) row.score = in_range("/rows/score", i, score[i], 0, 100);
      row.density = in_range("/rows/density", i, density[i], 0, 1 + 1e-9);
      if (positions[i] != 0) {
        if (positions[i] < 0 || flips[i] < 0 || flips[i] > positions[i] || divergence[i] < -1 ||
            divergence[i] >= positions[i])
          refuse("/rows/positions", i, "counts what cannot be");
        SweepForced& forced = row.forced.emplace();
        forced.positions = positions[i];
        forced.top1_flips = flips[i];
        if (divergence[i] >= 0) forced.first_divergence = divergence[i];
        forced.kl_mean = in_range("/rows/kl_mean", i, kl_mean[i], 0, 1e300);
        forced.kl_p95 = in_range("/rows/kl_p95", i, kl_p95[i], 0, 1e300);
        forced.nll_mean = in_range("/rows/nll_mean", i, nll[i], 0, 1e300);
      }
      if (!std::isnan(prompt_nll[i])) row.prompt_nll = in_range("/rows/prompt_nll", i, prompt_nll[i], 0, 1e300);
      if (!std::isnan(prompt_kl[i])) row.prompt_kl = in_range("/rows/prompt_kl", i, prompt_kl[i], 0, 1e300);
      row.answer_cut = cut[i] != 0;
      row.answer = answers.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(ends[i] - begin));
      begin = ends[i];
      const auto first = distances.begin() + static_cast<std::ptrdiff_t>(i) * layers;
      if (!std::all_of(first, first + layers, [](float value) { return std::isnan(value); }))
        row.output_l2.assign(first, first + layers);
      record_.rows.push_back(std::move(row));
    }
  }

  double in_range(const char* dataset, std::size_t row, double value, double least, double most) const {
    if (!(value >= least && value <= most)) refuse(dataset, row, "is out of range");
    return value;
  }

  void read_curves() {
    const auto tokens = file_.read_all<std::int64_t>("/curves/tokens", {-1}, max_sweep_samples);
    const std::int64_t count = std::ssize(tokens), layers = record_.meta.num_layers();
    const auto list = [&](const char* name) {
      return file_.read_all<std::int64_t>(std::string("/curves/") + name, {count});
    };
    const auto tasks = list("task"), lengths = list("length"), seeds = list("seed"), calibration = list("calibration"),
               own = list("budget_count");
    const auto budgets = file_.read_all<std::int64_t>("/curves/budgets", {count, -1}, 64);
    const std::int64_t width = count > 0 ? std::ssize(budgets) / count : 0;
    const auto values = file_.read_all<float>("/curves/values", {count, layers, 3, width});
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      SweepCurves curves;
      if (tasks[i] < 0 || tasks[i] >= std::ssize(record_.meta.tasks)) refuse("/curves/task", i, "names no task");
      curves.sample = {static_cast<std::size_t>(tasks[i]), lengths[i], seeds[i], calibration[i] != 0};
      check_sample("/curves/seed", i, curves.sample);
      curves.tokens = tokens[i];
      if (own[i] < 1 || own[i] > width) refuse("/curves/budget_count", i, "is out of range");
      const auto first = budgets.begin() + static_cast<std::ptrdiff_t>(i) * width;
      curves.budgets.assign(first, first + own[i]);
      if (curves.budgets.front() < 1 || !std::is_sorted(curves.budgets.begin(), curves.budgets.end()))
        refuse("/curves/budgets", i, "is not ascending");
      for (std::int64_t row = 0; row < layers * 3; ++row) {
        const auto at = values.begin() + (static_cast<std::ptrdiff_t>(i) * layers * 3 + row) * width;
        curves.values.insert(curves.values.end(), at, at + own[i]);
      }
      for (const float value : curves.values)
        if (!std::isnan(value) && !(value >= 0 && value <= 1.001f)) refuse("/curves/values", i, "is out of range");
      record_.curves.push_back(std::move(curves));
    }
  }

  const RecordFile& file_;
  SweepRecord record_;
  std::set<SweepSample> samples_;
  std::int64_t rows_ = 0;
};

}  // namespace

std::filesystem::path write_sweep(OutputPlace& place, const SweepRecord& record) {
  OutputFile output(place);
  const std::string name = place.asked().string();
  {
    hdf5::Library library;
    const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
    hdf5::forget_locks(access.get());
    const hdf5::Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_obj_track_times(creation.get(), 0);  // of the root group: the same rows give the same bytes
    H5Pset_userblock(creation.get(), static_cast<hsize_t>(seal_bytes));
    hdf5::Handle file(H5Fcreate(output.part().c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
    if (!file) throw hdf5::write_failure(name, {}, errno, 0);
    SweepWriter(file.get(), name, record).write();
    if (!file.reset()) throw hdf5::write_failure(name, {}, errno, 0);
  }
  seal_file(output.part(), to_bytes(directory_of_hdf5(output.part())), name);
  return output.commit();
}

SweepRecord read_sweep(const std::filesystem::path& file) {
  const RecordFile sealed(file);
  if (!sealed.has(settings_path))
    throw input_error(file.string(), "holds no sweep", "a file of `headroom sweep`",
                      sealed.has("/meta/json") ? "a run's record" : "something else");
  return SweepReader(sealed).read();
}

bool is_sweep(const std::filesystem::path& file) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed)) return false;
  try {
    return RecordFile(file).has(settings_path);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace headroom::record
