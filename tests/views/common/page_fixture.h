// SPDX-License-Identifier: GPL-3.0-or-later
// Synthetic records for tests of the pages, written once a process.
#pragma once

#include <QTemporaryDir>
#include <QWidget>
#include <QtTest>
#include <filesystem>
#include <memory>

#include "record/run_record.h"
#include "support/synthetic_record.h"
#include "views/common/selection.h"

namespace headroom::views {

inline std::filesystem::path temporary_file(const char* name) {
  static QTemporaryDir folder;
  return std::filesystem::path(folder.path().toStdString()) / name;
}

inline RecordPtr make_record(const char* name, const test::SyntheticOptions& options) {
  const auto file = temporary_file(name);
  test::write_synthetic_record(file, options);
  return record::RunRecord::open(file);
}

/// Six layers, one of them sliding; 600 tokens, dense, oracle and indexer at 64 keys.
inline RecordPtr small_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.sliding_layers = {3};
    options.keep_layers = {1};
    return make_record("small.h5", options);
  }();
  return record;
}

/// Shows a page away from the origin and waits until it is drawn.
inline void show_page(QWidget& page, QSize size) {
  page.resize(size);
  page.move(50, 50);
  page.show();
  QVERIFY(QTest::qWaitForWindowExposed(&page));
  QCoreApplication::processEvents();
}

}  // namespace headroom::views
