// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/timing/timing_page.h"

#include <QComboBox>
#include <QEvent>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QSignalBlocker>
#include <QSplitter>
#include <QTableView>
#include <QVBoxLayout>
#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "views/common/format.h"
#include "views/common/give_way.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"
#include "views/timing/bench_model.h"
#include "views/timing/bench_view.h"
#include "views/timing/context_plot.h"
#include "views/timing/timing_model.h"
#include "views/timing/timing_plot.h"

namespace headroom::views {
namespace {

constexpr int bench_role = Qt::UserRole + 1;  // in the chooser: the number of a bench result

QString file_name(const OpenBench& bench) {
  return QString::fromStdString(escape_invalid_utf8(bench.path.filename().native()));
}

}  // namespace

TimingPage::TimingPage(Selection* selection, QWidget* parent)
    : PageBase(selection, Selection::Method | Selection::Display | Selection::Benches, parent) {
  build();
}

void TimingPage::build() {
  setAccessibleName(tr("Timing"));
  body()->setBackgroundRole(QPalette::Base);
  body()->setAutoFillBackground(true);
  auto* column = new QVBoxLayout(body());
  column->setContentsMargins(16, 16, 16, 12);
  column->setSpacing(6);
  auto* bar = new QHBoxLayout;
  bar->setSpacing(8);
  bar->addWidget(make_heading(tr("Time to first token"), body()));
  view_ = new QComboBox(body());
  view_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  view_->setAccessibleName(tr("Totals of all methods, the layers of one, or a bench result"));
  bar->addWidget(view_);
  close_ = new QPushButton(tr("Close"), body());
  close_->setObjectName("close_bench");
  close_->setAccessibleName(tr("Close this bench result"));
  close_->setToolTip(tr("Closes this bench result. Its file stays; Undo brings it back."));
  connect(close_, &QPushButton::clicked, this, [this] {
    const auto& open = this->selection()->state().benches;
    const auto at = std::find(open.begin(), open.end(), bench_) - open.begin();
    this->selection()->close_bench(static_cast<std::size_t>(at));
  });
  bar->addWidget(close_);
  bar->addStretch(1);
  column->addLayout(bar);
  context_ = make_note(QString(), body());
  context_->setTextFormat(Qt::PlainText);  // a bench file's own words are in it, as below
  bound_ = new TextLabel(body());
  bound_->setWordWrap(true);
  bound_->setTextFormat(Qt::PlainText);
  bound_->setToolTip("<qt>" +
                     tr("Amdahl bound: T_dense / (T_dense − T_attention). Attention is only part of the time to first "
                        "token, so no sparse attention can do better.") +
                     "</qt>");
  note_ = make_note(QString(), body());
  note_->setTextFormat(Qt::PlainText);
  column->addWidget(context_);
  column->addWidget(bound_);
  column->addWidget(note_);
  legend_ = new TextLabel(body());
  legend_->setWordWrap(true);
  legend_->setTextFormat(Qt::RichText);
  legend_->setAccessibleName(tr("Colours of the stages"));
  column->addSpacing(2);
  column->addWidget(legend_);

  auto* splitter = parts_ = new QSplitter(Qt::Vertical, body());
  splitter->setChildrenCollapsible(false);
  // Many methods scroll: bars that are pressed together lose their names.
  auto* scroll = new QScrollArea(splitter);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->setMinimumHeight(180);
  auto* plots = new QWidget(scroll);
  auto* plots_column = new QVBoxLayout(plots);
  plots_column->setContentsMargins(0, 0, 0, 0);
  plot_ = new TimingPlot(plots);
  context_plot_ = new ContextPlot(plots);
  context_plot_->setMinimumHeight(180);
  context_plot_->hide();
  plots_column->addWidget(plot_);
  plots_column->addWidget(context_plot_);
  scroll->setWidget(plots);
  table_ = new QTableView(splitter);
  style_table(table_);
  table_->setAccessibleName(tr("Times and what they cost in quality"));
  table_->setMinimumHeight(120);
  table_->installEventFilter(this);
  model_ = new TimingModel(this);
  bench_model_ = new BenchModel(this);
  table_->setModel(model_);
  splitter->addWidget(scroll);
  splitter->addWidget(table_);
  give_way({table_});
  splitter->setStretchFactor(0, 1);
  splitter->setStretchFactor(1, 1);
  column->addWidget(splitter, 1);
  connect(view_, &QComboBox::activated, this, &TimingPage::choose_view);
}

bool TimingPage::has_content() const {
  return selection()->record() || selection()->bench();
}

void TimingPage::choose_view() {
  const QVariant bench = view_->currentData(bench_role);
  const QString method = view_->currentData().toString();
  selection()->change([&](ViewState& state) {
    state.bench = bench.isValid() ? bench.toInt() : -1;
    if (!bench.isValid()) state.display.timing_layers = method;
  });
}

void TimingPage::refresh(unsigned) {
  const RecordPtr held = record_;  // until the model has let go of its summaries
  record_ = selection()->record();
  if (selection()->bench() && !std::exchange(has_shown_bench_, true))
    parts_->setSizes({1000, 1000});  // a plot of many lengths and a long table
  bench_ = selection()->bench();
  methods_.clear();
  if (record_)
    show_run();
  else
    model_->set_methods({}, nullptr, false);
  fill_views();
  bench_model_->set_bench(bench_);
  QAbstractItemModel* model = bench_ ? static_cast<QAbstractItemModel*>(bench_model_) : model_;
  if (table_->model() != model) table_->setModel(model);
  context_->setText(context_text());
  bound_->setText(bound_text());
  note_->setText(bench_ ? bench_note_text(bench_->report) : unoptimised_text());
  close_->setVisible(bench_ != nullptr);
  note_->setVisible(!note_->text().isEmpty());
  fit_columns();
  show_plot();
}

void TimingPage::show_run() {
  const MethodPtr baseline = dense_of(*record_);
  if (baseline) methods_.push_back(baseline);
  for (const auto& method : record_->methods())
    if (&method != baseline) methods_.push_back(&method);
  model_->set_methods(methods_, baseline, record_->meta().timed_in_turn);
}

void TimingPage::fill_views() {
  const QSignalBlocker blocker(view_);
  const ViewState& state = selection()->state();
  view_->clear();
  if (record_) {
    view_->addItem(tr("Total, all methods"), QString());
    for (const MethodPtr method : methods_)
      if (!method->layer_stages.empty())
        view_->addItem(tr("By layer: %1").arg(method_label(*record_, *method)), QString::fromStdString(method->id));
    int beside = 0;
    for (const RecordPtr& run : state.runs) beside += run != record_;
    view_->addItem(beside > 0 ? tr("Speedup against context, %1 runs").arg(beside + 1) : tr("Speedup against context"),
                   QLatin1String(timing_by_context));
  }
  const int runs = view_->count();
  for (std::size_t i = 0; i < state.benches.size(); ++i) {
    view_->addItem(tr("Bench: %1").arg(last_characters(file_name(*state.benches[i]), 60)));
    view_->setItemData(view_->count() - 1, static_cast<int>(i), bench_role);
  }
  const auto at = std::find(state.benches.begin(), state.benches.end(), bench_);
  view_->setCurrentIndex(bench_ ? runs + static_cast<int>(at - state.benches.begin())
                                : std::max(0, view_->findData(state.display.timing_layers)));
}

void TimingPage::fit_columns() {
  fit_table(table_);
  // Long values share the width that the field names leave.
  if (bench_) return fit_table(table_, std::max(160, table_->width() / 3));
  const int methods = static_cast<int>(methods_.size());
  if (methods > 0) fit_table(table_, std::max(190, (table_->width() - table_->columnWidth(0) - 20) / methods));
}

bool TimingPage::eventFilter(QObject* object, QEvent* event) {
  if (object == table_ && event->type() == QEvent::Resize) fit_columns();
  return PageBase::eventFilter(object, event);
}

void TimingPage::restyle() {
  plot_->restyle();
  context_plot_->restyle();
  legend_->setText(shows_context() ? context_plot_->legend_html() : plot_->legend_html());
  fit_columns();
}

bool TimingPage::shows_context() const {
  return bench_ || view_->currentData().toString() == QLatin1String(timing_by_context);
}

void TimingPage::show_plot() {
  plot_->setVisible(!shows_context());
  context_plot_->setVisible(shows_context());
  if (shows_context()) {
    context_plot_->show_picture(bench_ ? speedups_of(bench_->report)
                                       : speedups_by_context(selection()->state().runs, *record_));
    legend_->setText(context_plot_->legend_html());
    return;
  }
  const QString id = view_->currentData().toString();
  const MethodPtr method = id.isEmpty() ? nullptr : record_->find_method(id.toStdString());
  if (method) {
    plot_->show_layers(*method);
  } else {
    plot_->show_totals(methods_);
  }
  // Two lines of a name, and the axis below.
  plot_->setMinimumHeight(method ? 180 : std::max(180, plot_->num_bars() * 2 * plot_->fontMetrics().height() + 60));
  legend_->setText(plot_->legend_html());
}

QString TimingPage::context_text() const {
  if (bench_) return bench_caption(bench_->report);
  const auto& meta = record_->meta();
  QStringList parts;
  parts << QString::fromStdString(meta.device) << QString::fromStdString(meta.dtype)
        << tr("%1 tokens").arg(format_count(record_->length())) << model_label(meta)
        << (meta.warmups == 1 ? tr("1 warm-up pass") : tr("%1 warm-up passes").arg(meta.warmups));
  int fewest = 1 << 30, most = 0;
  for (const MethodPtr method : methods_) {
    fewest = std::min(fewest, method->ttft.repeats);
    most = std::max(most, method->ttft.repeats);
  }
  if (most == 1 && fewest == 1) {
    parts << tr("one timed pass a method: no spread is known");
  } else if (most > 0) {
    parts << (fewest == most ? tr("%1 timed passes a method").arg(most)
                             : tr("%1–%2 timed passes a method").arg(fewest).arg(most));
  }
  parts.removeAll(QString());
  return parts.join(QStringLiteral(" · "));
}

QString TimingPage::bound_text() const {
  if (bench_) return bench_bound_text(bench_->report);
  const MethodPtr baseline = record_ ? dense_of(*record_) : nullptr;
  const auto bound = baseline ? amdahl_bound(*baseline) : std::nullopt;
  if (!bound) return tr("No bound can be given: the dense model was not timed.");
  const double attention = baseline->stages[static_cast<std::size_t>(Stage::attention)].median;
  QString text =
      tr("Attention takes %1 of the %2 that dense needs (%3). Were it free, the whole would be at most %4x faster.")
          .arg(format_ms(attention), format_ms(baseline->ttft.median),
               format_percent(attention / baseline->ttft.median), format_fixed(*bound, 2));
  if (const auto* libtorch = libtorch_dense(*baseline))
    text += ' ' + tr("Dense through LibTorch's attention takes %1 in the same run.").arg(format_ms(libtorch->median));
  return text;
}

QString TimingPage::unoptimised_text() const {
  QStringList labelled, references;
  QString label;
  for (const MethodPtr method : methods_) {
    if (!method->label.empty()) {
      labelled << method_label(*record_, *method);
      label = QString::fromStdString(method->label);
    } else if (method->role == MethodRole::reference) {
      references << method_label(*record_, *method);
    }
  }
  QStringList sentences;
  if (!labelled.isEmpty())
    sentences << tr("%1: %2; their times are stated, no speedup is.").arg(labelled.join(QStringLiteral("; ")), label);
  if (!references.isEmpty())
    sentences << tr("%1: a reference that is not deployable; no speedup.").arg(references.join(QStringLiteral("; ")));
  QStringList disturbed;
  for (const MethodPtr method : methods_)
    if (method->load && method->load->disturbed())
      disturbed << tr("%1 (%2 of %3 processors)")
                       .arg(method_label(*record_, *method), format_fixed(method->load->taken(), 1))
                       .arg(method->load->cpus);
  if (!disturbed.isEmpty())
    sentences << tr("Other work took processors while these were timed, so they took too long: %1.")
                     .arg(disturbed.join(QStringLiteral("; ")));
  QStringList planned;
  for (const MethodPtr method : methods_) {
    const auto plan = plan_counts(*method);
    if (!plan || !plan->timing_only) continue;
    const bool automatic = method->timing_plan->source == "automatic";
    planned << tr("%1 ran dense in %2 of %3 layers%4")
                   .arg(method_label(*record_, *method))
                   .arg(plan->dense)
                   .arg(plan->full)
                   .arg(automatic ? tr(", where sparse takes longer") : tr(" (plan from a file)"));
  }
  if (!planned.isEmpty())
    sentences
        << tr("In timed passes %1; what is recorded is the method as defined.").arg(planned.join(QStringLiteral("; ")));
  return sentences.join(' ');
}

double TimingPage::wanted_height(double width, double least_text) {
  refresh_now();
  if (!has_content()) return 0;
  return figure_height(width, least_text, [this](Figure& figure) {
    draw_text(figure);
    figure.take_top((plot_height() + 16) * figure.unit());
    figure.take_top(figure.table_height(*table_, [this](int row) { return left_out(row); }));
  });
}

int TimingPage::plot_height() const {
  if (shows_context()) return 320;
  const bool by_layer = !view_->currentData().toString().isEmpty();
  return by_layer ? 260 : plot_->num_bars() * 48 + 70;
}

QString TimingPage::title() const {
  return tr("Timing");
}
QString TimingPage::csv() const {
  if (!has_content()) return {};
  return bench_ ? bench_model_->csv() : model_->csv();
}
QString TimingPage::source_text() const {
  const BenchPtr bench = selection()->bench();  // asked for before what is shown is caught up with
  return bench ? tr("bench result %1: %2").arg(file_name(*bench), bench_caption(bench->report)) : QString();
}

void TimingPage::draw_text(Figure& figure) const {
  figure.title(bench_ ? tr("How much faster is sparse prefill?") : tr("Where does the time to first token go?"),
               context_text());
  const QString muted = Theme::instance().muted_text().name();
  figure.html(bound_text().toHtmlEscaped() + "<br><span style=\"color:" + muted + "\">" +
              note_->text().toHtmlEscaped() + "</span>");
  figure.html(shows_context() ? context_plot_->legend_html() : plot_->legend_html(), 0.9);
}

bool TimingPage::left_out(int row) const {
  return !bench_ && model_->is_stage(row);
}

void TimingPage::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  refresh_now();
  Figure figure(painter, target, options);
  if (!has_content()) return figure.title(title(), tr("No run is open"));
  draw_text(figure);
  const QRectF rest = figure.rest();
  // The bars show the stages; their numbers are in the CSV.
  const double height = std::min(rest.height() * 0.6, plot_height() * figure.unit());
  figure.plot(shows_context() ? static_cast<QCustomPlot*>(context_plot_) : plot_,
              QRectF(rest.left(), rest.top(), rest.width(), height));
  figure.take_top(height + 16 * figure.unit());
  figure.table(*table_, figure.rest(), [this](int row) { return left_out(row); });
}

}  // namespace headroom::views
