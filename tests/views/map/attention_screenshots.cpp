// SPDX-License-Identifier: GPL-3.0-or-later
// Writes pictures of the attention page in both themes and two sizes, from a record or from a synthetic one.
#include <QApplication>
#include <QElapsedTimer>
#include <QPainter>
#include <cstdio>

#include "support/synthetic_record.h"
#include "views/map/attention_controls.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/prompt/prompt_panel.h"
#include "views/common/theme.h"

using namespace headroom;
using namespace headroom::views;

namespace {

void settle(AttentionPage& page) {
  QElapsedTimer clock;
  clock.start();
  int quiet = 0;
  while (clock.elapsed() < 30000 && quiet < 12) {
    QApplication::processEvents(QEventLoop::AllEvents, 25);
    quiet = page.map()->cache()->busy() || !page.map()->data() ? 0 : quiet + 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  QApplication application(argc, argv);
  if (argc < 3) {
    std::fprintf(stderr, "attention_screenshots RUN.h5|TOKENS FOLDER\n");
    return 2;
  }
  std::filesystem::path file = argv[1];
  const std::filesystem::path folder = argv[2];
  if (const int tokens = std::atoi(argv[1]); tokens > 0) {
    file = folder / "synthetic.h5";
    headroom::test::SyntheticOptions options;
    options.tokens = tokens;
    options.keep_layers = {0, 1, 2};
    headroom::test::write_synthetic_record(file, options);
  }
  const auto record = record::RunRecord::open(file);
  for (const ThemeMode mode : {ThemeMode::light, ThemeMode::dark}) {
    Theme::instance().set_mode(mode);
    const QString name = mode == ThemeMode::light ? QStringLiteral("light") : QStringLiteral("dark");
    for (const QSize size : {QSize(1600, 1000), QSize(1280, 720), QSize(880, 800)}) {
      Selection selection;
      AttentionPage page(&selection);
      page.resize(size);
      page.show();
      selection.open_record(record);
      settle(page);
      const auto save = [&](const QString& what) {
        page.grab().save(QStringLiteral("%1/%2-%3x%4-%5.png")
                             .arg(QString::fromStdString(folder.string()), name)
                             .arg(size.width())
                             .arg(size.height())
                             .arg(what));
      };
      save(QStringLiteral("fit"));
      const double length = static_cast<double>(record->length());
      const auto query = static_cast<std::int64_t>(length * 0.8);
      page.map()->show_pair({query, query / 3});
      page.map()->toggle_pin();
      page.map()->next_missed();
      selection.set_hover({query - 20, query / 2});
      settle(page);
      save(QStringLiteral("selected"));
      selection.change([&](ViewState& state) {
        state.viewport = {length * 0.55, length * 0.7, length * 0.5, length * 0.66};
      });
      settle(page);
      save(QStringLiteral("zoomed"));
      page.map()->set_overlay({true, true, true});
      selection.change([&](ViewState& state) {
        state.viewport = {length * 0.6, length * 0.6 + 24, length * 0.56, length * 0.56 + 36};
      });
      page.prompt()->text();
      settle(page);
      save(QStringLiteral("pairs"));
      if (size.width() == 1600) {
        QImage figure(1600, 1000, QImage::Format_ARGB32);
        figure.fill(Theme::instance().background());
        QPainter painter(&figure);
        ExportOptions options;
        options.provenance = QStringLiteral("run 0123456789abcdef");
        page.render(painter, QRectF(20, 20, 1560, 960), options);
        painter.end();
        figure.save(QStringLiteral("%1/%2-export.png").arg(QString::fromStdString(folder.string()), name));
      }
    }
  }
  return 0;
}
