// SPDX-License-Identifier: GPL-3.0-or-later
// New run…: what to measure, what the engine says it needs, and the end of the prompt as the model will see it.
#pragma once

#include <QDialog>
#include <QTimer>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "protocol/run_spec.h"
#include "record/run_record.h"

class QCheckBox;
class QComboBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;
class QSpinBox;
class QTabWidget;
class QVBoxLayout;

namespace headroom::protocol {
struct ErrorInfo;
struct Preflight;
}  // namespace headroom::protocol

namespace headroom::gui {

class EngineClient;
class ModelFetch;
class SettingsStore;

/// What the dialog starts from; fields that are empty keep the last run's values.
struct NewRunRequest {
  QString model, prompt_file, indexer;
  std::optional<protocol::RunSpec> spec;
};

/// The spec of `record` with one budget of `tokens` in its place and a new file; none where the record holds no spec.
std::optional<protocol::RunSpec> spec_with_budget(const record::RunRecord& record, std::int64_t tokens);
/// A new file name in the folder that runs are kept in (made where it is missing).
QString new_record_path();
/// A record of an engine elsewhere is written where it may be fetched from, under the same name: the path of `spec` is
/// of this machine's disk.
void place_on_engine(protocol::RunSpec& spec, const EngineClient& engine);

class NewRunDialog : public QDialog {
  Q_OBJECT
 public:
  NewRunDialog(EngineClient& engine, SettingsStore& settings, const NewRunRequest& request, QWidget* parent);

  /// What the fields say now. Throws usage errors that name the field.
  protocol::RunSpec spec() const;

 signals:
  /// No indexer fits: train one for `model`, with its adapter where it has one.
  void distill_requested(const std::string& model, const std::optional<std::string>& adapter);

 private:
  struct MethodBox {
    QCheckBox* check = nullptr;
    std::string name;  ///< "oracle", "sink_window:sinks=8"
    bool needs_index = false;
  };

  QWidget* build_model();
  QWidget* build_prompt();
  QWidget* build_methods();
  QWidget* build_machine();
  QWidget* build_check();
  void fill(const protocol::RunSpec& spec);
  void list_methods();
  void list_tasks();
  std::vector<std::string> ticked_methods() const;
  void engine_changed();
  void model_changed();
  void model_edited();
  void show_layer_budgets();
  std::optional<std::string> adapter() const;
  void edited();
  void check();
  void prepare_remote();
  void show_model(const nlohmann::json& info);
  void show_preflight(const protocol::Preflight& preflight);
  void show_error(const protocol::ErrorInfo& error);
  void show_message(const QString& text, bool good);
  QWidget* build_exact_maps(QWidget* parent);
  void fill_exact_maps(const protocol::RunSpec& spec);
  /// Throws usage errors.
  void read_exact_maps(protocol::RunSpec& spec) const;
  QString choose_file(const QString& title, const QString& filter, bool folder = false);
  /// The same where the engine runs: on its own disk where that is another machine.
  QString choose_there(const QString& title, const QString& filter, const QStringList& suffixes, bool folder = false);

  EngineClient& engine_;
  SettingsStore& settings_;
  QTimer debounce_;
  quint64 generation_ = 0, model_generation_ = 0;
  protocol::RunSpec kept_;  ///< fields that have no place in the dialog

  QComboBox* model_ = nullptr;
  QLineEdit* adapter_ = nullptr;
  QLabel* model_facts_ = nullptr;
  QTabWidget* prompt_tabs_ = nullptr;
  QPlainTextEdit* prompt_text_ = nullptr;
  QLineEdit* prompt_file_ = nullptr;
  QComboBox* task_ = nullptr;
  QSpinBox *task_length_ = nullptr, *seed_ = nullptr;
  QCheckBox* chat_ = nullptr;
  QVBoxLayout* method_list_ = nullptr;
  std::vector<MethodBox> methods_;           ///< what the engine offers; empty until it is ready
  std::vector<std::string> wanted_methods_;  ///< what is ticked, or will be once the engine has told what it offers
  bool methods_chosen_ = false;              ///< false: what runs by default is ticked
  bool with_index_ = false;                  ///< ticks what needs an index, once
  QLineEdit *budgets_ = nullptr, *granularity_ = nullptr, *dense_layers_ = nullptr, *indexer_ = nullptr;
  QComboBox *device_ = nullptr, *dtype_ = nullptr;
  QSpinBox *repeats_ = nullptr, *max_new_tokens_ = nullptr;
  QCheckBox* libraries_ = nullptr;
  std::vector<std::string> baselines_;  ///< of the request that is shown; empty: all, where libraries_ is checked
  QLineEdit* out_ = nullptr;
  QLineEdit* keep_layers_ = nullptr;  ///< exact maps: "suggested", "all" or layer numbers
  QSpinBox* record_limit_ = nullptr;  ///< MiB
  QCheckBox* by_layer_ = nullptr;  ///< budgets by layer, where the request or a file gave some
  QLabel *message_ = nullptr, *needs_ = nullptr;
  QWidget* indexer_help_ = nullptr;
  ModelFetch* fetch_ = nullptr;
  QPlainTextEdit* tail_ = nullptr;
  QPushButton* start_ = nullptr;
};

/// Opens the dialog; `start` is called with the spec where the reader starts the run.
/// `distill` where an indexer for a model is wanted first.
void ask_new_run(QWidget* parent, EngineClient& engine, SettingsStore& settings, const NewRunRequest& request,
                 std::function<void(const protocol::RunSpec&)> start,
                 std::function<void(const std::string& model, const std::optional<std::string>& adapter)> distill);

}  // namespace headroom::gui
