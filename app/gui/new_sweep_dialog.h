// SPDX-License-Identifier: GPL-3.0-or-later
// New sweep…: tasks or prompts, lengths, methods, budgets and samples; what the samples can resolve and how long it
// takes, before it starts.
#pragma once

#include <QDialog>
#include <QTimer>
#include <functional>
#include <optional>
#include <vector>

#include "protocol/sweep_spec.h"
#include "record/sweep/sweep_types.h"

class QCheckBox;
class QComboBox;
class QLabel;
class QLineEdit;
class QListWidget;
class QPushButton;
class QSpinBox;
class QTabWidget;

namespace headroom::protocol {
struct ErrorInfo;
}

namespace headroom::gui {

class EngineClient;
class SettingsStore;

/// A new file name in the folder that sweeps are kept in (made where it is missing).
QString new_sweep_path();
/// What would make `meta`'s rows again with seeds that it did not use: to confirm what was chosen on them. Of own
/// prompts `prompts` is where they lie; they have no seeds. `model`: a path or short name.
protocol::SweepSpec confirming_spec(const record::SweepMeta& meta, const std::string& model,
                                    const std::optional<std::string>& prompts);
/// "oracle:sinks=4": a method of a sweep as a specification names it, without its budget.
std::string method_word(const record::SweepMethod& method);

class NewSweepDialog : public QDialog {
  Q_OBJECT
 public:
  /// Without `spec` the last sweep's.
  NewSweepDialog(EngineClient& engine, SettingsStore& settings, const std::optional<protocol::SweepSpec>& spec,
                 QWidget* parent);

  /// What the fields say now. Throws usage errors that name the field.
  protocol::SweepSpec spec() const;

 private:
  QWidget* build_source();
  QWidget* build_methods();
  QWidget* build_machine();
  QWidget* build_check();
  void fill(const protocol::SweepSpec& spec);
  void engine_changed();
  void list_tasks();
  void list_methods();
  void edited();
  void check();
  void show_needs(const protocol::SweepNeeds& needs);
  void show_message(const QString& text, bool good);
  void show_layer_budgets();
  std::vector<std::string> ticked(const QListWidget& list) const;
  QString choose(const QString& title, const QString& filter, const QStringList& suffixes, bool folder);

  EngineClient& engine_;
  SettingsStore& settings_;
  QTimer debounce_;
  quint64 generation_ = 0;
  protocol::SweepSpec kept_;  ///< fields that have no place in the dialog
  std::vector<std::string> wanted_tasks_, wanted_methods_;
  bool tasks_listed_ = false, methods_listed_ = false;

  QComboBox *model_, *device_, *dtype_;
  QTabWidget* source_;
  QListWidget *tasks_, *methods_;
  QLineEdit *lengths_, *prompts_, *budgets_, *granularity_, *dense_layers_, *indexer_, *layer_budgets_, *out_;
  QString own_out_;  ///< the file that the dialog itself proposes; empty where the caller says which
  QSpinBox *samples_, *seed_, *calibration_;
  QCheckBox* resume_;
  QLabel *message_ = nullptr, *needs_ = nullptr;
  QPushButton* start_ = nullptr;
};

}  // namespace headroom::gui
