// SPDX-License-Identifier: Apache-2.0
// Damaged records give a clear error or load; they never crash, hang or ask for much memory. Children do the reading,
// so that a crash is a failure which names the seed. Half of the mutations are sealed again and reach HDF5 and our
// checks.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <QTemporaryDir>
#include <QtTest>
#include <chrono>
#include <fstream>
#include <random>

#include "base/error.h"
#include "record/sealed_file.h"
#include "support/synthetic_record.h"
#include "touch_record.h"

using namespace headroom;

namespace {

using Bytes = std::vector<char>;

Bytes read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_file(const std::filesystem::path& file, const Bytes& bytes) {
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Changes the bytes from `first` on.
void mutate(Bytes& bytes, std::size_t first, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1)); };
  // Headers lie all over the file; small files and low addresses are preferred so that they are hit often.
  const auto place = [&] {
    const std::size_t range = bytes.size() - first;
    return first + (random() & 1 ? below(std::min<std::size_t>(range, 6000)) : below(range));
  };
  switch (random() % 6) {
    case 0:
    case 1:
      for (std::size_t i = 0; i <= random() % 4; ++i) bytes[place()] ^= static_cast<char>(1 << random() % 8);
      break;
    case 2: {
      const std::size_t begin = place(), count = 1 + below(16);
      const int kind = static_cast<int>(random() % 3);
      for (std::size_t i = begin; i < std::min(begin + count, bytes.size()); ++i)
        bytes[i] = static_cast<char>(kind == 0 ? 0 : kind == 1 ? 0xff : random());
      break;
    }
    case 3:
      bytes.resize(first + below(bytes.size() - first));
      break;
    case 4: {
      const std::size_t from = place(), to = place(), count = 1 + below(512);
      for (std::size_t i = 0; i < count && std::max(from, to) + i < bytes.size(); ++i) bytes[to + i] = bytes[from + i];
      break;
    }
    default: {
      const std::uint64_t huge[] = {~0ULL, 1ULL << 63, 1ULL << 40, 0, 1ULL << 32, 0x7fffffff};
      const std::uint64_t value = huge[random() % 6];
      const std::size_t at = place() & ~std::size_t{7};
      if (at + 8 <= bytes.size() && at >= first) std::memcpy(bytes.data() + at, &value, 8);
    }
  }
}

struct Outcome {
  int at = 0, loaded = 0, refused = 0;
  char message[200] = {};
};

}  // namespace

class TestRecordFuzz : public QObject {
  Q_OBJECT
  // In memory where that exists: sealing waits for the disk.
  QTemporaryDir folder_{QFileInfo("/dev/shm").isWritable() ? "/dev/shm/headroom-fuzz-XXXXXX" : "headroom-fuzz-XXXXXX"};
  Bytes original_;
  std::filesystem::path at(const char* name) { return std::filesystem::path(folder_.path().toStdString()) / name; }

  void run_children(int mutations, bool seal_again) {
    constexpr int batch = 250;
    auto* shared = static_cast<Outcome*>(
        mmap(nullptr, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    QVERIFY(shared != MAP_FAILED);
    *shared = {};
    for (int begin = 0; begin < mutations; begin += batch) {
      const pid_t child = fork();
      QVERIFY(child >= 0);
      if (child == 0) _exit(read_mutations(begin, std::min(begin + batch, mutations), seal_again, *shared));
      int status = 0;
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (waitpid(child, &status, WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() > deadline) {
          kill(child, SIGKILL);
          waitpid(child, &status, 0);
          QFAIL(qPrintable(QString("hangs at mutation %1").arg(shared->at)));
        }
        QTest::qSleep(5);
      }
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        QFAIL(qPrintable(QString("mutation %1: signal %2, exit %3: %4")
                             .arg(shared->at)
                             .arg(WIFSIGNALED(status) ? WTERMSIG(status) : 0)
                             .arg(WIFEXITED(status) ? WEXITSTATUS(status) : 0)
                             .arg(shared->message)));
    }
    qInfo("%d loaded, %d refused; the last: %s", shared->loaded, shared->refused, shared->message);
    QVERIFY(shared->refused > mutations / 4);
    munmap(shared, sizeof(Outcome));
  }

  int read_mutations(int begin, int end, bool seal_again, Outcome& shared) {
#ifndef __SANITIZE_ADDRESS__
    const rlimit memory{2ULL << 30, 2ULL << 30};  // a huge allocation becomes bad_alloc, which fails below
    setrlimit(RLIMIT_AS, &memory);
#endif
    const auto file = at("mutated.h5");
    for (int i = begin; i < end; ++i) {
      shared.at = i;
      Bytes bytes = original_, directory;
      const auto seed = static_cast<std::uint64_t>(i) * 2 + seal_again;
      if (seal_again) {  // the parts that the seal covers, with an empty user block
        const record::SealedFile sealed(at("original.h5"));
        bytes.resize(static_cast<std::size_t>(sealed.end()));
        std::fill(bytes.begin(), bytes.begin() + record::seal_bytes, '\0');
        directory.assign(sealed.directory().begin(), sealed.directory().end());
        mutate(i % 4 == 0 ? bytes : directory, i % 4 == 0 ? record::seal_bytes : 0, seed);
      } else {
        mutate(bytes, 0, seed);
      }
      write_file(file, bytes);
      try {
        if (seal_again)
          record::seal_file(file, {reinterpret_cast<const std::uint8_t*>(directory.data()), directory.size()});
        test::touch_everything(file);
        ++shared.loaded;
      } catch (const Error& error) {
        std::snprintf(shared.message, sizeof shared.message, "%s", error.what());
        if (error.kind() != ErrorKind::input || error.detail().place.empty()) return 3;
        ++shared.refused;
      } catch (const std::exception& error) {
        std::snprintf(shared.message, sizeof shared.message, "%s", error.what());
        return 4;
      }
    }
    return 0;
  }

 private slots:
  void initTestCase() {
    test::SyntheticOptions o;
    o.tokens = 48;
    o.layers = 2;
    o.num_q_heads = 4;
    o.head_dim = 8;
    o.methods = {"dense", "oracle-k8-g1"};
    o.keep_layers = {1};
    test::write_synthetic_record(at("original.h5"), o);
    original_ = read_file(at("original.h5"));
    QVERIFY(test::touch_everything(at("original.h5")) > 1000);
    qInfo("%d bytes", static_cast<int>(original_.size()));
  }
  void damaged_files() {
    run_children(750, false);
  }
  void damaged_and_sealed_again() {
    run_children(1500, true);
  }
};

QTEST_GUILESS_MAIN(TestRecordFuzz)
#include "test_record_fuzz.moc"
