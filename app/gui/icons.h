// SPDX-License-Identifier: GPL-3.0-or-later
// Our own line icons, drawn from SVG in the theme's colours at any size; they follow the theme without being reloaded.
#pragma once

#include <QIcon>
#include <QString>

namespace headroom::gui {

/// Registers the resources of this library; call once before icons are used.
void load_resources();
/// `name` of resources/icons/<name>.svg.
QIcon icon(const QString& name);

}  // namespace headroom::gui
