// SPDX-License-Identifier: Apache-2.0
// What tests of whole commands share: a folder with a tiny model, a prompt, ids and a record, and ways to start
// `headroom` as a person, a shell or a script does.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <QtTest>
#include <algorithm>

#include "support/tiny_model.h"

namespace headroom::test {

struct Finished {
  int code = -1;  ///< 1000: a signal ended it
  QByteArray output, errors;
};

inline Finished wait_for(QProcess& process) {
  if (process.state() != QProcess::NotRunning && !process.waitForFinished(60000)) qFatal("it hangs");
  const bool normal = process.exitStatus() == QProcess::NormalExit;
  return {normal ? process.exitCode() : 1000, process.readAllStandardOutput(), process.readAllStandardError()};
}

class CommandFixture : public QObject {
 protected:
  QTemporaryDir folder_;
  QString model_, record_, prompt_, ids_;

  QString path(const QString& name) const { return folder_.filePath(name); }
  std::string native(const QString& name) const { return path(name).toStdString(); }
  QString write(const QString& name, const QByteArray& content) const {
    QFile file(path(name));
    if (!file.open(QIODevice::WriteOnly)) qFatal("cannot write %s", qPrintable(name));
    file.write(content);
    return file.fileName();
  }
  static QByteArray read(const QString& file) {
    QFile stream(file);
    return stream.open(QIODevice::ReadOnly) ? stream.readAll() : QByteArray("(cannot be read)");
  }
  QStringList parts() const { return QDir(folder_.path()).entryList({"*.part"}, QDir::Files | QDir::Hidden); }
  static QString program() { return QStringLiteral(HEADROOM_BINARY_DIR "/headroom"); }

  static Finished headroom(const QStringList& arguments) {
    QProcess process;
    process.start(program(), arguments);
    return wait_for(process);
  }
  /// As a shell starts it, with `redirection` behind the command and `before` in front.
  static Finished shell(const QStringList& arguments, const QString& redirection, const QString& before = {}) {
    QProcess process;
    process.start("/bin/sh", QStringList{"-c", before + "exec \"$0\" \"$@\" " + redirection, program()} + arguments);
    return wait_for(process);
  }
  /// What the command would do with `out`; %OUT% in it stands for that.
  QStringList command(const QString& name, const QString& out) const {
    QString line;
    if (name == "run")
      line =
          "run %MODEL% --device cpu --repeats 1 --methods dense --max-new-tokens 1 --prompt-file %PROMPT% --out %OUT%";
    if (name == "logits") line = "logits %MODEL% --ids %IDS% --out %OUT%";
    if (name == "csv" || name == "json" || name == "tex") line = "export %RECORD% --view budget -o %OUT%";
    if (name == "plan") line = "export %RECORD% --view plan -o %OUT%";
    if (name == "distill")
      line =
          "distill %MODEL% --steps 1 --length 64 --index-dim 8 --eval-every 1 --held-out 1 --recall-budget 4 --device "
          "cpu --out %OUT%";
    QStringList words = line.split(' ');
    for (QString& word : words)
      word.replace("%MODEL%", model_)
          .replace("%PROMPT%", prompt_)
          .replace("%IDS%", ids_)
          .replace("%RECORD%", record_)
          .replace("%OUT%", out);
    return words;
  }
  static constexpr qint64 holes = qint64{64} << 30;
  /// The tiny model with nothing, but much of it, behind its end.
  QString with_holes() const {
    const QString model = path("holes.gguf");
    QFile::remove(model);
    if (!QFile::copy(model_, model) || ::truncate(model.toLocal8Bit().constData(), holes) != 0)
      qFatal("this file system has no files of 64 GB");
    return model;
  }
  static bool reads(const QProcess& process, const QString& file) {
    const QDir open("/proc/" + QString::number(process.processId()) + "/fd");
    const auto list = open.entryInfoList(QDir::AllEntries | QDir::System | QDir::NoDotAndDotDot);
    return std::any_of(list.begin(), list.end(), [&](const QFileInfo& entry) { return entry.symLinkTarget() == file; });
  }
  static QString suffix(const QString& name) {
    return name == "run"                      ? ".h5"
           : name == "csv" || name == "tex"   ? "." + name
           : name == "json" || name == "plan" ? ".json"
                                              : ".safetensors";
  }
  static bool says(const Finished& result, std::initializer_list<QString> words) {
    for (const QString& word : words) {
      if (QString::fromUtf8(result.errors).contains(word)) continue;
      qWarning("not said: %s; but: %s", qPrintable(word), result.errors.constData());
      return false;
    }
    return true;
  }

  void make_inputs() {
    if (!folder_.isValid()) qFatal("no folder");
    qputenv("XDG_CACHE_HOME", folder_.path().toUtf8());
    model_ = path("tiny.gguf");
    test::write_tiny_model(model_.toStdString(), {.layers = 2});
    prompt_ = write("prompt.txt", "the river runs north of seven hills");
    ids_ = write("ids.json", "[5, 6, 7]");
    record_ = path("record.h5");
    // A record of this version's own, with a plan.
    const auto made =
        headroom({"run", model_, "--device", "cpu", "--repeats", "1", "--methods", "dense,oracle,random", "--budget",
                  "8", "--max-new-tokens", "1", "--plan", "none", "--prompt-file", prompt_, "--out", record_});
    if (made.code != 0) qFatal("no record: %s", made.errors.constData());
  }
};

}  // namespace headroom::test
