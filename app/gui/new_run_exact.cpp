// SPDX-License-Identifier: GPL-3.0-or-later
// New run: which layers the record keeps exactly, and how large it may become.
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QRegularExpression>
#include <QSpinBox>

#include "base/error.h"
#include "gui/new_run_dialog.h"

namespace headroom::gui {
namespace {

/// From this limit on every layer fits: what "all" is in a specification, which knows no such word.
constexpr std::int64_t unlimited_record = std::int64_t{1} << 40;
constexpr std::int64_t usual_limit = std::int64_t{256} << 20;

QString suggested_word() {
  return QObject::tr("suggested");
}
QString all_word() {
  return QObject::tr("all");
}

}  // namespace

QWidget* NewRunDialog::build_exact_maps(QWidget* parent) {
  auto* row = new QWidget(parent);
  auto* layout = new QHBoxLayout(row);
  layout->setContentsMargins(0, 0, 0, 0);
  keep_layers_ = new QLineEdit(row);
  keep_layers_->setObjectName("keep_layers");
  keep_layers_->setAccessibleName(tr("Layers whose maps are kept exactly"));
  keep_layers_->setPlaceholderText(tr("suggested, all, or layers such as 5, 11"));
  keep_layers_->setToolTip(tr(
      "Layers whose q and k the record keeps, so that every pair is exact. Suggested: those that lose most mass, until "
      "the limit is reached. Layers by number come first and whole. All: however large the record becomes."));
  record_limit_ = new QSpinBox(row);
  record_limit_->setObjectName("record_limit");
  record_limit_->setAccessibleName(tr("Largest size of the record"));
  record_limit_->setRange(1, 1 << 20);
  record_limit_->setSingleStep(256);
  record_limit_->setGroupSeparatorShown(true);
  record_limit_->setSuffix(tr(" MiB"));
  layout->addWidget(keep_layers_, 1);
  layout->addWidget(new QLabel(tr("up to"), row));
  layout->addWidget(record_limit_);
  connect(keep_layers_, &QLineEdit::textChanged, this, [this](const QString& text) {
    record_limit_->setEnabled(text.trimmed().compare(all_word(), Qt::CaseInsensitive) != 0);
    edited();
  });
  connect(record_limit_, &QSpinBox::valueChanged, this, &NewRunDialog::edited);
  return row;
}

void NewRunDialog::fill_exact_maps(const protocol::RunSpec& spec) {
  const bool all = spec.keep_layers.empty() && spec.record_limit >= unlimited_record;
  QStringList layers;
  for (const int layer : spec.keep_layers) layers << QString::number(layer);
  keep_layers_->setText(all ? all_word() : spec.keep_layers.empty() ? suggested_word() : layers.join(", "));
  record_limit_->setValue(static_cast<int>(std::clamp<std::int64_t>(
      (spec.record_limit >= unlimited_record ? usual_limit : spec.record_limit) >> 20, 1, 1 << 20)));
}

void NewRunDialog::read_exact_maps(protocol::RunSpec& spec) const {
  const QString text = keep_layers_->text().trimmed();
  spec.keep_layers.clear();
  // A limit that the field shows rounded stays what it was.
  if (kept_.record_limit >> 20 != record_limit_->value())
    spec.record_limit = std::int64_t{record_limit_->value()} << 20;
  if (text.compare(all_word(), Qt::CaseInsensitive) == 0) {
    spec.record_limit = unlimited_record;
    return;
  }
  if (spec.record_limit >= unlimited_record) spec.record_limit = std::int64_t{record_limit_->value()} << 20;
  if (text.isEmpty() || text.compare(suggested_word(), Qt::CaseInsensitive) == 0) return;
  for (const QString& part : text.split(QRegularExpression("[,\\s]+"), Qt::SkipEmptyParts)) {
    bool good = false;
    const int layer = part.toInt(&good);
    if (!good || layer < 0 || layer > 4095)
      throw usage_error(
          tr("Exact maps: expected \"suggested\", \"all\" or layer numbers with commas between them, found "
             "\"%1\"")
              .arg(part.left(40))
              .toStdString());
    spec.keep_layers.push_back(layer);
  }
}

}  // namespace headroom::gui
