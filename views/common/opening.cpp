// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/opening.h"

namespace headroom::views {

QString opening_method_id(const record::RunRecord& record) {
  return QString::fromStdString(record::opening_method(record));
}

}  // namespace headroom::views
