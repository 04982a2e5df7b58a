// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/commands.h"

#include <QAbstractButton>
#include <QAbstractSpinBox>
#include <QAction>
#include <QComboBox>
#include <QCoreApplication>
#include <QLineEdit>
#include <QMenu>
#include <QPointer>
#include <QRegularExpression>
#include <QSet>
#include <QSlider>
#include <QStackedLayout>
#include <QToolButton>
#include <algorithm>

#include "gui/file_names.h"
#include "views/common/format.h"

namespace headroom::gui {
namespace {

constexpr int most_choices = 200;  // of one control: longer lists are gone through by other means

QString words(const char* text) {
  return QCoreApplication::translate("Commands", text);
}

QString bare(QString text) {
  return text.remove('&').remove(u'…').trimmed();
}

/// What a control is called: for readers of screens first, since a button may show a sign alone.
QString name_of(const QWidget* control) {
  if (const QString name = control->accessibleName(); !name.isEmpty()) return name;
  if (const auto* button = qobject_cast<const QAbstractButton*>(control)) return bare(button->text());
  return {};
}

/// What a page has folded away for want of room comes out.
void bring_out(QWidget* control) {
  for (QWidget* one = control; one && one->parentWidget(); one = one->parentWidget())
    if (one->property("folded").toBool()) QMetaObject::invokeMethod(one->parentWidget(), "unfold");
}

/// Whether it can be seen once the page is shown. A page that was never shown still hides all of its body: what a stack
/// hides does not count.
bool is_there(const QWidget* control, const QWidget* root) {
  for (const QWidget* one = control; one && one != root; one = one->parentWidget()) {
    const QWidget* parent = one->parentWidget();
    const bool stacked = parent && qobject_cast<const QStackedLayout*>(parent->layout());
    if (one->isHidden() && !stacked && !one->property("folded").toBool()) return false;
  }
  return true;
}

int word_score(const QString& word, const QString& text) {
  int best = 0;
  for (qsizetype at = text.indexOf(word, 0, Qt::CaseInsensitive); at >= 0 && best < 12;
       at = text.indexOf(word, at + 1, Qt::CaseInsensitive)) {
    const bool begins = at == 0 || !text[at - 1].isLetterOrNumber();
    const qsizetype end = at + word.size();
    const bool whole = begins && (end == text.size() || !text[end].isLetterOrNumber());
    best = std::max(best, whole ? 12 : begins ? 10 : word.size() > 1 ? 6 : 2);
  }
  if (best > 0) return best;
  // First letters of words ("or": Open run), else any letters in order. Digits stand for numbers and match as such.
  if (std::any_of(word.begin(), word.end(), [](QChar c) { return c.isDigit(); })) return 0;
  const auto in_order = [&](bool at_starts) {
    qsizetype from = 0;
    for (const QChar letter : word) {
      do {
        from = text.indexOf(letter, from, Qt::CaseInsensitive) + 1;
      } while (from > 1 && at_starts && text[from - 2].isLetterOrNumber());
      if (from == 0) return false;
    }
    return true;
  };
  return word.size() < 2 ? 0 : in_order(true) ? 8 : in_order(false) ? 1 : 0;
}

Command command(const QString& title, std::function<void()> run, bool enabled = true) {
  Command result;
  result.title = title;
  result.run = std::move(run);
  result.enabled = enabled;
  return result;
}

void set_layer(views::Selection& selection, int layer) {
  selection.change([layer](views::ViewState& state) { state.layer = layer; });
}
void set_head(views::Selection& selection, record::HeadSelector head) {
  selection.change([head](views::ViewState& state) { state.head = head; });
}

}  // namespace

QString plain_text(const QAction* action) {
  return bare(action->text());
}

QString keys_of(const QAction* action) {
  QStringList keys;
  for (const QKeySequence& key : action->shortcuts()) keys << key.toString(QKeySequence::NativeText);
  return keys.join(", ");
}

int match_score(const QString& pattern, const QString& text) {
  static const QRegularExpression space(QStringLiteral("\\s+"));
  int score = 1;
  for (const QString& word : pattern.split(space, Qt::SkipEmptyParts)) {
    const int found = word_score(word, text);
    if (found == 0) return 0;
    score += found;
  }
  const QString whole = pattern.trimmed();
  if (whole.isEmpty()) return score;
  if (text.startsWith(whole, Qt::CaseInsensitive)) score += whole.size() == text.size() ? 40 : 10;
  return score;
}

QVector<Command> action_commands(const QVector<QAction*>& actions) {
  QVector<Command> list;
  for (QAction* action : actions) {
    Command entry = command(
        plain_text(action),
        [action = QPointer<QAction>(action)] {
          if (action) action->trigger();
        },
        action->isEnabled());
    entry.keys = keys_of(action);
    entry.icon = action->icon();
    list << entry;
  }
  return list;
}

QVector<Command> key_commands(const QString& page, const QVector<views::PageCommand>& commands,
                              const std::function<void()>& show) {
  QVector<Command> list;
  for (const views::PageCommand& one : commands) {
    if (one.let_go) continue;  // a name cannot be held
    Command entry = command(QStringLiteral("%1: %2").arg(page, one.title), [show, run = one.run] {
      show();
      run();
    });
    entry.keys = one.keys;
    list << entry;
  }
  return list;
}

QVector<Command> control_commands(const QString& place, QWidget* root, const std::function<void()>& show) {
  QVector<Command> list;
  QSet<QString> names;
  const auto add = [&](QWidget* control, const QString& title, auto&& run) {
    const QString whole = QStringLiteral("%1: %2").arg(place, title);
    if (names.contains(whole)) return;
    names.insert(whole);
    list << command(
        whole,
        [show, control = QPointer<QWidget>(control), run] {
          show();
          if (control && control->isEnabled()) run();
        },
        control->isEnabledTo(root));
  };
  for (QWidget* control : root->findChildren<QWidget*>()) {
    if (!is_there(control, root)) continue;
    const QString name = name_of(control);
    if (name.isEmpty()) continue;
    if (auto* choice = qobject_cast<QComboBox*>(control)) {
      for (int i = 0; i < std::min(choice->count(), most_choices); ++i)
        add(choice, QStringLiteral("%1: %2").arg(name, choice->itemText(i)), [choice, i] {
          if (i >= choice->count()) return;
          choice->setCurrentIndex(i);
          emit choice->activated(i);
        });
    } else if (auto* button = qobject_cast<QAbstractButton*>(control)) {
      auto* tool = qobject_cast<QToolButton*>(button);
      if (tool && tool->menu()) {
        for (QAction* action : tool->menu()->actions())
          if (!action->isSeparator())
            add(tool, QStringLiteral("%1: %2").arg(name, plain_text(action)), [action] { action->trigger(); });
      } else if (!tool || !tool->defaultAction()) {
        add(button, name, [button] { button->click(); });
      }
    } else if (qobject_cast<QSlider*>(control) || qobject_cast<QAbstractSpinBox*>(control) ||
               (qobject_cast<QLineEdit*>(control) && !qobject_cast<QAbstractSpinBox*>(control->parentWidget()) &&
                !qobject_cast<QComboBox*>(control->parentWidget()))) {
      add(control, name, [control] {
        bring_out(control);
        control->setFocus(Qt::ShortcutFocusReason);
      });
    }
  }
  return list;
}

QVector<Command> place_commands(views::Selection& selection, const std::function<void()>& show_map) {
  QVector<Command> list;
  const views::ViewState& state = selection.state();
  for (const views::RecordPtr& run : state.runs)
    if (run != selection.record())
      list << command(words("Show run: %1").arg(shown_path(name_from_path(run->path().filename()))),
                      [&selection, run] { selection.open_record(run); });
  const views::RecordPtr record = selection.record();
  if (!record) return list;
  for (const auto& method : record->methods()) {
    const QString id = QString::fromStdString(method.id);
    const QString name = QStringLiteral("%1 (%2)").arg(views::method_label(*record, method), id);
    list << command(words("Show method: %1").arg(name), [&selection, id] {
      selection.change([&id](views::ViewState& next) { next.method = id; });
    });
    list << command(words("Compare with: %1").arg(name), [&selection, id] {
      selection.change([&id](views::ViewState& next) { next.baseline = id; });
    });
  }
  for (int layer = 0; layer < record->meta().num_layers(); ++layer)
    if (record->meta().is_full(layer))
      list << command(words("Go to layer %1").arg(layer), [&selection, layer, show_map] {
        set_layer(selection, layer);
        show_map();
      });
  using Head = record::HeadSelector;
  const auto head = [&](const QString& title, Head which) {
    list << command(title, [&selection, which, show_map] {
      set_head(selection, which);
      show_map();
    });
  };
  if (!record->meta().has_layer(state.layer)) return list;
  const record::LayerMeta& sizes = record->meta().layer(state.layer);
  head(words("Go to the mean of all heads"), {});
  for (int i = 0; i < sizes.num_q_heads; ++i) head(words("Go to head %1").arg(i), {Head::Kind::head, i});
  if (sizes.num_kv_heads > 1 && sizes.group_size() > 1)
    for (int i = 0; i < sizes.num_kv_heads; ++i) head(words("Go to KV group %1").arg(i), {Head::Kind::group, i});
  return list;
}

QVector<Command> typed_commands(const QString& text, views::Selection& selection,
                                const std::function<void()>& show_map) {
  const views::RecordPtr record = selection.record();
  if (!record) return {};
  static const QRegularExpression place(QStringLiteral("\\bl(?:ayer)?\\s*(\\d{1,6})\\W*h(?:ead)?\\s*(\\d{1,6})\\b"),
                                        QRegularExpression::CaseInsensitiveOption);
  static const QRegularExpression position(QStringLiteral("\\b(?:token|query|row)\\s*([\\d,]{1,12})\\b"),
                                           QRegularExpression::CaseInsensitiveOption);
  if (const auto match = place.match(text); match.hasMatch()) {
    const int layer = match.captured(1).toInt(), head = match.captured(2).toInt();
    if (!record->meta().has_layer(layer) || head >= record->meta().layer(layer).num_q_heads) return {};
    return {command(words("Go to layer %1, head %2").arg(layer).arg(head), [&selection, layer, head, show_map] {
      selection.change([&](views::ViewState& state) {
        state.layer = layer;
        state.head = {record::HeadSelector::Kind::head, head};
      });
      show_map();
    })};
  }
  if (const auto match = position.match(text); match.hasMatch()) {
    const qint64 token = match.captured(1).remove(',').toLongLong();
    if (token >= record->length()) return {};
    return {command(words("Go to token %1").arg(views::format_count(token)), [&selection, token, show_map] {
      selection.change([token](views::ViewState& state) {
        state.query_begin = token;
        state.query_end = token + 1;
        state.keys.clear();
      });
      show_map();
    })};
  }
  return {};
}

}  // namespace headroom::gui
