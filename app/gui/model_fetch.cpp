// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/model_fetch.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QProgressBar>
#include <QPushButton>
#include <QRegularExpression>
#include <QScrollArea>
#include <QTextBrowser>
#include <QTimer>
#include <QVBoxLayout>

#include "base/paths.h"

namespace headroom::gui {
namespace {

constexpr int most_output = 4000;  // bytes of what the script says

QString fetch_script() {
  const auto found = find_data("scripts/fetch-model");
  return found ? QString::fromStdString(found->string()) : QString();
}

}  // namespace

ModelFetch::ModelFetch(QWidget* parent) : QWidget(parent), program_(fetch_script()) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  terms_ = new QTextBrowser(this);
  terms_->setObjectName("fetch_terms");
  terms_->setOpenExternalLinks(true);
  terms_->setAccessibleName(tr("Terms of the model"));
  terms_->setFixedHeight(fontMetrics().lineSpacing() * 8);
  terms_->hide();
  layout->addWidget(terms_);
  auto* row = new QHBoxLayout;
  text_ = new QLabel(this);
  text_->setObjectName("fetch_text");
  text_->setWordWrap(true);
  text_->setTextFormat(Qt::PlainText);
  text_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  go_ = new QPushButton(this);
  go_->setObjectName("fetch_go");
  go_->setAutoDefault(false);
  row->addWidget(text_, 1);
  row->addWidget(go_);
  layout->addLayout(row);
  bar_ = new QProgressBar(this);
  bar_->setObjectName("fetch_bar");
  bar_->setAccessibleName(tr("The model is being fetched"));
  bar_->setRange(0, 0);  // the registry's client says no numbers
  bar_->setTextVisible(false);
  bar_->setMaximumHeight(fontMetrics().height() / 2);
  bar_->hide();
  layout->addWidget(bar_);
  connect(go_, &QPushButton::clicked, this, [this] {
    clicked_ = true;
    if (running())
      process_.terminate();
    else
      start(terms_shown_);
  });
  process_.setProcessChannelMode(QProcess::SeparateChannels);
  process_.setStandardInputFile(QProcess::nullDevice());  // the script asks nothing: it says what is to be accepted
  connect(&process_, &QProcess::readyReadStandardError, this, &ModelFetch::hear);
  connect(&process_, &QProcess::finished, this, &ModelFetch::ended);
  connect(&process_, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
    if (error == QProcess::FailedToStart) show_state(process_.errorString(), tr("Try again"));
  });
  hide();
}

ModelFetch::~ModelFetch() {
  process_.disconnect(this);
  if (running()) {
    process_.terminate();  // it removes what it has fetched so far
    process_.waitForFinished(2000);
  }
}

QString ModelFetch::missing_model(const QString& message) {
  static const QRegularExpression said("has not been fetched: run scripts/fetch-model ([a-z0-9.-]+)");
  return said.match(message).captured(1);
}

void ModelFetch::offer(const QString& model) {
  if (running()) return;  // what is under way stays in sight
  setVisible(!model.isEmpty());
  if (model.isEmpty() || model == model_) return;
  model_ = model;
  terms_shown_ = clicked_ = false;
  terms_->hide();
  if (program_.isEmpty())
    show_state(tr("Fetch it with scripts/fetch-model %1 of the source tree.").arg(model), {});
  else
    show_state(tr("%1 can be fetched from the package registry.").arg(model), tr("Fetch it"));
}

void ModelFetch::show_state(const QString& text, const QString& button) {
  text_->setText(text);
  text_->setToolTip({});
  go_->setText(button);
  go_->setVisible(!button.isEmpty());
  bar_->setVisible(running());
  if (clicked_) QTimer::singleShot(0, this, &ModelFetch::come_into_sight);
}

void ModelFetch::come_into_sight() {
  for (QWidget* around = parentWidget(); around; around = around->parentWidget())
    if (auto* area = qobject_cast<QScrollArea*>(around)) return area->ensureWidgetVisible(this, 0, 12);
}

void ModelFetch::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  if (clicked_) QTimer::singleShot(0, this, &ModelFetch::come_into_sight);
}

void ModelFetch::show_terms(const QString& text) {
  static const QRegularExpression address("(https?://[^\\s<>\"]+)");
  QString html = text.toHtmlEscaped();
  html.replace(address, QStringLiteral("<a href=\"\\1\">\\1</a>")).replace('\n', "<br>");
  terms_->setHtml(html);
  terms_->show();
}

void ModelFetch::hear() {
  said_ = (said_ + process_.readAllStandardError()).right(most_output);
  // "Fetching gemma3-270m (238 MB) into …": what is loaded, how large it is and where it goes.
  static const QRegularExpression begun("^Fetching .*$", QRegularExpression::MultilineOption);
  const auto line = begun.match(QString::fromUtf8(said_));
  if (accepted_ && running() && line.hasMatch()) text_->setText(line.captured());
}

void ModelFetch::start(bool accepted) {
  accepted_ = accepted;
  said_.clear();
  QStringList arguments;
  if (accepted) arguments << "--accept";
  show_state(tr("Fetching %1…").arg(model_), tr("Stop"));
  process_.start(program_, arguments << model_);
  bar_->setVisible(running());
}

void ModelFetch::ended() {
  hear();
  const QString said = QString::fromUtf8(said_).trimmed();
  const bool well = process_.exitStatus() == QProcess::NormalExit && process_.exitCode() == 0;
  if (well) {
    terms_->hide();
    terms_shown_ = false;
    show_state(tr("%1 is here.").arg(model_), {});
    emit fetched(std::exchange(model_, {}));
    return;
  }
  if (!accepted_ && said.contains("--accept")) {
    // The terms, without the last line, which names the option for the command line.
    terms_shown_ = true;
    show_terms(said.left(said.lastIndexOf('\n')).trimmed());
    show_state(tr("Fetching it means that you have read these terms and accept them."), tr("Accept and fetch"));
    return;
  }
  const bool stopped = process_.exitStatus() != QProcess::NormalExit;
  show_state(stopped ? tr("Stopped: nothing was kept.") : tr("Not fetched: %1").arg(said.section('\n', -1)),
             tr("Try again"));
  if (!stopped) text_->setToolTip(said);  // all that was said before
}

}  // namespace headroom::gui
