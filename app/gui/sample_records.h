// SPDX-License-Identifier: GPL-3.0-or-later
// The recorded runs that ship with the program, as sample_data/records/samples.json lists them: which is shown first,
// and those that can be tried.
#pragma once

#include <QString>
#include <QVector>

namespace headroom::gui {

struct SampleRecord {
  QString title;  ///< of the command: "Try a hybrid: Gemma 3 270M"
  QString path;   ///< of the record, which is there
  QString about;  ///< what it shows, in a sentence or two
  QString model;  ///< short name, to run it here
};

struct SampleRecords {
  QString first;  ///< the record that is shown at the first start; empty where there is none
  QVector<SampleRecord> samples;
  QString problem;  ///< why the list was not read: file, place, expected and found; empty where all is well
};

/// Reads the list. What it names and what is not there is left out; without a list the first record is the first by
/// name.
SampleRecords find_sample_records();

}  // namespace headroom::gui
