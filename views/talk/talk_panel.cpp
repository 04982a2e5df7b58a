// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/talk/talk_panel.h"

#include <QCheckBox>
#include <QEvent>
#include <QFileInfo>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QPainter>
#include <QPlainTextEdit>
#include <QScrollArea>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>

#include "base/error.h"
#include "views/common/flow_layout.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr int step_role = Qt::UserRole;

QPlainTextEdit* text_field(const QString& name, const QString& hint, int lines, QWidget* parent) {
  auto* field = new QPlainTextEdit(parent);
  field->setAccessibleName(name);
  field->setPlaceholderText(hint);
  field->setTabChangesFocus(true);
  field->setUndoRedoEnabled(false);  // the talk's own undo has every letter
  field->setMinimumHeight(QFontMetrics(field->font()).lineSpacing() * lines + 14);
  style_field(field);
  return field;
}

/// Equal for steps that show the same.
QByteArray picture_key(const TalkStep& step) {
  return step.page.toUtf8() + '\n' + QByteArray::number(step.sweep) + '\n' +
         QByteArray::fromStdString(step.view.dump());
}

QString page_words(const QString& page) {
  return page.isEmpty() ? QString() : page.left(1).toUpper() + page.mid(1);
}

}  // namespace

QString live_words(const nlohmann::json& json) {
  try {
    const protocol::RunSpec spec = protocol::run_spec_from_json(json);
    QStringList parts{QFileInfo(QString::fromStdString(spec.model)).fileName()};
    if (spec.task) parts << QString::fromStdString(*spec.task);
    if (spec.prompt_file) parts << QFileInfo(QString::fromStdString(*spec.prompt_file)).fileName();
    QStringList methods, budgets;
    for (const std::string& method : spec.methods) methods << QString::fromStdString(method);
    for (const Budget& budget : spec.budgets) budgets << QString::fromStdString(to_string(budget));
    if (!methods.isEmpty()) parts << methods.join(", ");
    parts << QObject::tr("budget %1").arg(budgets.join(", "));
    return parts.join(QStringLiteral(" · "));
  } catch (const Error& error) {
    return QString::fromUtf8(error.what());
  }
}

TalkPanel::TalkPanel(TalkBook* book, QWidget* parent) : QWidget(parent), book_(book) {
  setObjectName("talk_panel");
  // In a low window all of it stays within reach.
  auto* whole = new QVBoxLayout(this);
  whole->setContentsMargins(0, 0, 0, 0);
  auto* scroll = new QScrollArea(this);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  whole->addWidget(scroll);
  auto* inside = new QWidget(scroll);
  scroll->setWidget(inside);
  auto* column = new QVBoxLayout(inside);
  column->setContentsMargins(8, 8, 8, 8);
  heading_ = make_heading({}, this);
  heading_->setWordWrap(true);
  column->addWidget(heading_);
  name_ = new QLineEdit(this);
  name_->setAccessibleName(tr("Title of the talk"));
  name_->setPlaceholderText(tr("Title of the talk"));
  name_->setMaxLength(1000);
  name_->installEventFilter(this);
  style_field(name_);
  connect(name_, &QLineEdit::textEdited, this, [this](const QString& text) { book_->set_title(text); });
  column->addWidget(name_);
  auto* top = new FlowLayout;
  column->addLayout(top);
  add_ = button(tr("Add view"), tr("A new step that shows what you look at now (Ctrl+D)"), top);
  update_ = button(tr("Update"), tr("The chosen step shows what you look at now; its words stay"), top);
  up_ = button(QStringLiteral("↑"), tr("Moves the step up (Alt+Up)"), top);
  down_ = button(QStringLiteral("↓"), tr("Moves the step down (Alt+Down)"), top);
  remove_ = button(tr("Remove"), tr("Removes the step (Del); Undo brings it back"), top);
  undo_ = button(QStringLiteral("↶"), tr("Takes back the last change of the talk (Ctrl+Z in this dock)"), top);
  redo_ = button(QStringLiteral("↷"), tr("Makes the change of the talk again"), top);

  empty_ = make_note(tr("A talk is a list of views with captions. Look at something and choose Add view, or press "
                        "Ctrl+D. F5 presents the steps."),
                     this);
  column->addWidget(empty_);
  steps_ = new QListWidget(this);
  steps_->setObjectName("talk_steps");
  steps_->setAccessibleName(tr("Steps of the talk"));
  steps_->setDragDropMode(QAbstractItemView::InternalMove);
  steps_->setDefaultDropAction(Qt::MoveAction);
  steps_->setAlternatingRowColors(true);
  steps_->setTextElideMode(Qt::ElideRight);
  steps_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  steps_->installEventFilter(this);
  steps_->setMinimumHeight(QFontMetrics(font()).lineSpacing() * 7);
  column->addWidget(steps_, 2);

  fields_ = new QWidget(this);
  auto* form = new QVBoxLayout(fields_);
  form->setContentsMargins(0, 0, 0, 0);
  title_ = new QLineEdit(fields_);
  title_->setAccessibleName(tr("Title of the step"));
  title_->setPlaceholderText(tr("Title"));
  title_->setMaxLength(1000);
  title_->installEventFilter(this);
  style_field(title_);
  form->addWidget(title_);
  caption_ = text_field(tr("Caption"), tr("Caption: what the audience reads below the view"), 2, fields_);
  caption_->installEventFilter(this);
  form->addWidget(caption_, 1);
  notes_ = text_field(tr("Notes"), tr("Notes: for you, on the other screen"), 3, fields_);
  notes_->installEventFilter(this);
  form->addWidget(notes_, 1);
  live_ = new QCheckBox(tr("Can run live"), fields_);
  live_->setToolTip(
      tr("While presenting, L starts the run of this step's record again with the engine, and T changes "
         "between the live run and the recorded one"));
  form->addWidget(live_);
  live_words_ = make_note({}, fields_);
  form->addWidget(live_words_);
  column->addWidget(fields_, 2);

  verdict_ = make_note({}, this);
  verdict_->setObjectName("talk_verdict");
  column->addWidget(verdict_);
  faults_ = new QListWidget(this);
  faults_->setObjectName("talk_faults");
  faults_->setAccessibleName(tr("What is wrong with the talk"));
  faults_->setWordWrap(true);
  faults_->setMinimumHeight(QFontMetrics(font()).lineSpacing() * 5);
  faults_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  column->addWidget(faults_, 1);
  work_row_ = new QWidget(this);
  auto* work_line = new QHBoxLayout(work_row_);
  work_line->setContentsMargins(0, 0, 0, 0);
  work_ = new QLabel(work_row_);
  work_line->addWidget(work_, 1);
  connect(button(tr("Stop"), tr("Gives up what runs"), work_line), &QToolButton::clicked, this,
          &TalkPanel::work_stopped);
  column->addWidget(work_row_);
  auto* bottom = new FlowLayout;
  column->addLayout(bottom);
  check_ = button(tr("Check"), tr("Reads every record and sweep and holds each step against it"), bottom);
  pack_ = button(tr("Pack…"), tr("One folder with the talk, its records and sweeps"), bottom);
  export_ = button(tr("Export…"), tr("PDF, pictures, or one HTML file"), bottom);
  present_ = button(tr("Present"), tr("Shows the steps on the whole screen (F5)"), bottom);

  connect(add_, &QToolButton::clicked, this, &TalkPanel::add_requested);
  connect(update_, &QToolButton::clicked, this, &TalkPanel::update_requested);
  connect(up_, &QToolButton::clicked, this, [this] { book_->move(book_->current(), book_->current() - 1); });
  connect(down_, &QToolButton::clicked, this, [this] { book_->move(book_->current(), book_->current() + 1); });
  connect(remove_, &QToolButton::clicked, this, [this] { book_->remove(book_->current()); });
  connect(undo_, &QToolButton::clicked, this, [this] { book_->undo_stack().undo(); });
  connect(redo_, &QToolButton::clicked, this, [this] { book_->undo_stack().redo(); });
  connect(check_, &QToolButton::clicked, this, &TalkPanel::check_requested);
  connect(pack_, &QToolButton::clicked, this, &TalkPanel::pack_requested);
  connect(export_, &QToolButton::clicked, this, &TalkPanel::export_requested);
  connect(present_, &QToolButton::clicked, this, &TalkPanel::present_requested);
  connect(&book_->undo_stack(), &QUndoStack::canUndoChanged, undo_, &QToolButton::setEnabled);
  connect(&book_->undo_stack(), &QUndoStack::canRedoChanged, redo_, &QToolButton::setEnabled);
  connect(steps_, &QListWidget::currentRowChanged, this, [this](int row) {
    if (!filling_ && row >= 0) book_->set_current(row);
  });
  connect(steps_, &QListWidget::itemActivated, this,
          [this](QListWidgetItem* item) { emit show_requested(steps_->row(item)); });
  connect(steps_->model(), &QAbstractItemModel::rowsMoved, this,
          [this](const QModelIndex&, int from, int, const QModelIndex&, int row) {
            if (filling_) return;
            // Not inside the drop: the list is filled anew.
            QTimer::singleShot(0, this, [this, from, to = row > from ? row - 1 : row] {
              book_->move(from, to);
              fill();
            });
          });
  connect(title_, &QLineEdit::textEdited, this,
          [this](const QString& text) { book_->set_text(book_->current(), StepText::title, text); });
  const auto follow = [this](QPlainTextEdit* field, StepText which, int most) {
    connect(field, &QPlainTextEdit::textChanged, this, [this, field, which, most] {
      if (!filling_) book_->set_text(book_->current(), which, field->toPlainText().left(most));
    });
  };
  follow(caption_, StepText::caption, 10000);
  follow(notes_, StepText::notes, 200000);
  connect(live_, &QCheckBox::clicked, this, [this](bool on) { emit live_requested(book_->current(), on); });
  connect(faults_, &QListWidget::itemActivated, this, [this](QListWidgetItem* item) {
    if (const int step = item->data(step_role).toInt(); step >= 0) emit show_requested(step);
  });
  connect(faults_, &QListWidget::itemClicked, this, [this](QListWidgetItem* item) {
    if (const int step = item->data(step_role).toInt(); step >= 0) book_->set_current(step);
  });
  connect(book_, &TalkBook::changed, this, [this] {
    forget_faults();
    fill();
  });
  connect(book_, &TalkBook::current_changed, this, &TalkPanel::show_step);
  connect(book_, &TalkBook::state_changed, this, &TalkPanel::fill);
  connect(&Theme::instance(), &Theme::changed, this, &TalkPanel::fill);
  undo_->setEnabled(false);
  redo_->setEnabled(false);
  show_work({});
  forget_faults();
  fill();
}

QToolButton* TalkPanel::button(const QString& text, const QString& hint, QLayout* row) {
  auto* made = new QToolButton(this);
  made->setText(text);
  made->setToolTip(hint);
  made->setAccessibleName(text.size() > 1 ? text : hint);
  row->addWidget(made);
  return made;
}

QSize TalkPanel::picture_size() const {
  const int height = fontMetrics().lineSpacing() * 5 / 2;
  return {height * 16 / 9, height};
}

QPixmap TalkPanel::blank_picture(const QString& page) const {
  const qreal ratio = devicePixelRatioF();
  QPixmap blank(picture_size() * ratio);
  blank.setDevicePixelRatio(ratio);
  blank.fill(Theme::instance().panel());
  QPainter painter(&blank);
  const QRectF all(QPointF(0.5, 0.5), QSizeF(picture_size()) - QSizeF(1, 1));
  painter.setPen(Theme::instance().border());
  painter.drawRect(all);
  QFont small = font();
  small.setPointSizeF(font().pointSizeF() * 0.8);
  painter.setFont(small);
  painter.setPen(Theme::instance().muted_text());
  painter.drawText(all, Qt::AlignCenter,
                   QFontMetricsF(small).elidedText(page_words(page), Qt::ElideRight, all.width() - 4));
  return blank;
}

void TalkPanel::set_picture(const TalkStep& step, const QPixmap& picture) {
  if (picture.isNull()) return;
  if (pictures_.size() > 500) pictures_.clear();  // of views that no step has any more
  // Larger than it is drawn now: text may be made larger.
  pictures_[picture_key(step)] = picture.scaled(320, 180, Qt::KeepAspectRatio, Qt::SmoothTransformation);
  fill();
}

bool TalkPanel::has_picture(const TalkStep& step) const {
  return pictures_.contains(picture_key(step));
}

bool TalkPanel::has_picture(int step) const {
  return step >= 0 && step < book_->count() && has_picture(book_->talk().steps[static_cast<std::size_t>(step)]);
}

void TalkPanel::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::FontChange && present_) fill();
}

void TalkPanel::fill() {
  filling_ = true;
  const QSize size = picture_size();
  steps_->setIconSize(size);
  const Talk& talk = book_->talk();
  QString name = book_->file().isEmpty() ? tr("New talk") : QFileInfo(book_->file()).completeBaseName();
  if (!book_->is_open()) name = tr("No talk is open");
  if (book_->changed_since_saved()) name += tr(" – not saved");
  heading_->setText(name);
  while (steps_->count() > book_->count()) delete steps_->takeItem(steps_->count() - 1);
  while (steps_->count() < book_->count()) steps_->addItem(new QListWidgetItem);
  for (int i = 0; i < book_->count(); ++i) {
    const TalkStep& step = talk.steps[static_cast<std::size_t>(i)];
    const QString title = step.title.isEmpty() ? tr("(no title)") : step.title;
    const QString first = step.caption.section('\n', 0, 0).left(200);
    QString text = tr("%1. %2\n%3").arg(i + 1).arg(title, page_words(step.page));
    if (step.live) text += tr(" · live");
    if (!first.isEmpty()) text += QStringLiteral(" · ") + first;
    QListWidgetItem* item = steps_->item(i);
    item->setText(text);
    item->setToolTip(step.caption);
    const auto picture = pictures_.constFind(picture_key(step));
    if (picture == pictures_.constEnd()) {
      item->setIcon(blank_picture(step.page));
    } else {  // on a sheet of the same shape, so that the words stand in one line
      QPixmap sheet = blank_picture({});
      QPainter painter(&sheet);
      const QSizeF drawn = QSizeF(picture->size()).scaled(size, Qt::KeepAspectRatio);
      painter.setRenderHint(QPainter::SmoothPixmapTransform);
      painter.drawPixmap(
          QRectF(QPointF((size.width() - drawn.width()) / 2, (size.height() - drawn.height()) / 2), drawn), *picture,
          picture->rect());
      painter.end();
      item->setIcon(sheet);
    }
  }
  filling_ = false;
  const bool any = book_->count() > 0;
  if (name_->text() != talk.title) name_->setText(talk.title);
  name_->setVisible(any);
  steps_->setVisible(any);
  fields_->setVisible(any);
  empty_->setVisible(!any);
  for (QToolButton* one : {check_, pack_, export_, present_}) one->setVisible(any);
  for (QToolButton* one : {update_, up_, down_, remove_}) one->setVisible(any);
  show_step();
}

void TalkPanel::show_step() {
  const int current = book_->current();
  filling_ = true;
  steps_->setCurrentRow(current);
  const bool one = current >= 0;
  fields_->setEnabled(one);
  const TalkStep none, &step = one ? book_->talk().steps[static_cast<std::size_t>(current)] : none;
  // Only what differs, so that the cursor stays where one writes.
  if (title_->text() != step.title) title_->setText(step.title);
  if (caption_->toPlainText() != step.caption) caption_->setPlainText(step.caption);
  if (notes_->toPlainText() != step.notes) notes_->setPlainText(step.notes);
  live_->setChecked(step.live.has_value());
  live_words_->setText(step.live ? live_words(*step.live) : QString());
  live_words_->setVisible(step.live.has_value());
  up_->setEnabled(current > 0);
  down_->setEnabled(one && current + 1 < book_->count());
  remove_->setEnabled(one);
  update_->setEnabled(one);
  filling_ = false;
}

void TalkPanel::show_faults(const std::vector<TalkFault>& faults) {
  faults_->clear();
  for (const TalkFault& fault : faults) {
    auto* item =
        new QListWidgetItem(fault.step < 0 ? fault.line() : tr("Step %1: %2").arg(fault.step + 1).arg(fault.line()));
    item->setData(step_role, fault.step);
    item->setToolTip(fault.line());
    faults_->addItem(item);
  }
  faults_->setVisible(!faults.empty());
  verdict_->setVisible(true);
  verdict_->setText(faults.empty() ? tr("Checked: every record and sweep is there and unchanged, and every step fits.")
                                   : tr("%1 to mend; click to go to the step.").arg(faults.size()));
}

void TalkPanel::forget_faults() {
  faults_->clear();
  faults_->hide();
  verdict_->clear();
  verdict_->hide();
}

void TalkPanel::show_work(const QString& words) {
  work_->setText(words);
  work_row_->setVisible(!words.isEmpty());
  for (QToolButton* one : {check_, pack_, export_}) one->setEnabled(words.isEmpty());
}

bool TalkPanel::eventFilter(QObject* object, QEvent* event) {
  if (event->type() != QEvent::KeyPress && event->type() != QEvent::ShortcutOverride)
    return QWidget::eventFilter(object, event);
  auto* key = static_cast<QKeyEvent*>(event);
  const auto ours = [&]() -> std::function<void()> {
    // Ctrl+Z means the talk while one writes it, whatever it means in the window.
    if (key->matches(QKeySequence::Undo)) return [this] { book_->undo_stack().undo(); };
    if (key->matches(QKeySequence::Redo) ||
        (key->modifiers() == (Qt::ControlModifier | Qt::ShiftModifier) && key->key() == Qt::Key_Z))
      return [this] { book_->undo_stack().redo(); };
    if (object != steps_) return {};
    if (key->modifiers() == Qt::AltModifier && key->key() == Qt::Key_Up)
      return [this] { book_->move(book_->current(), book_->current() - 1); };
    if (key->modifiers() == Qt::AltModifier && key->key() == Qt::Key_Down)
      return [this] { book_->move(book_->current(), book_->current() + 1); };
    if (key->key() == Qt::Key_Delete && key->modifiers() == Qt::NoModifier)
      return [this] { book_->remove(book_->current()); };
    return {};
  }();
  if (!ours) return QWidget::eventFilter(object, event);
  event->accept();
  if (event->type() == QEvent::KeyPress) ours();
  return true;
}

}  // namespace headroom::views
