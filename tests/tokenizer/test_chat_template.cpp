// SPDX-License-Identifier: Apache-2.0
// Prompts equal to transformers' (chat_prompts.json, made by support/make_chat_fixture.py), and what is refused.
#include <QtTest>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"
#include "tokenizer/chat_template.h"

using namespace headroom;

class TestChatTemplate : public QObject {
  Q_OBJECT

  QTemporaryDir folder_;

  std::unique_ptr<checkpoint::Checkpoint> model_with(const std::string& chat_template) const {
    test::GgufWriter gguf;
    gguf.add("tokenizer.chat_template", chat_template);
    const auto file = folder_.filePath("template.gguf").toStdString();
    test::write_file(file, gguf.bytes() + std::string(64, '\0'));
    return checkpoint::open_checkpoint(file);
  }

 private slots:
  void prompts_equal_transformers() {
    std::ifstream in(HEADROOM_SOURCE_DIR "/tests/tokenizer/chat_prompts.json");
    const auto rows = nlohmann::json::parse(in);
    QVERIFY(rows.size() > 20);
    for (const auto& row : rows) {
      const auto model = model_with(row["template"]);
      std::vector<tokenizer::ChatMessage> messages;
      for (const auto& message : row["messages"]) messages.push_back({message["role"], message["content"]});
      QCOMPARE(tokenizer::has_chat_template(*model), !row["text"].is_null());
      if (row["text"].is_null()) {
        QVERIFY_THROWS_EXCEPTION(Error, tokenizer::render_chat(*model, messages));
        continue;
      }
      const tokenizer::RenderedPrompt prompt = tokenizer::render_chat(*model, messages);
      QCOMPARE(prompt.text, row["text"].get<std::string>());
      const auto size = static_cast<std::size_t>(prompt.user_end - prompt.user_begin);
      QCOMPARE(prompt.text.substr(static_cast<std::size_t>(prompt.user_begin), size), messages.back().content);
    }
  }

  void refusals_say_why() {
    const auto refusal = [](const checkpoint::Checkpoint& model, const std::map<std::string, std::string>& arguments) {
      try {
        tokenizer::render_chat(model, {{"user", "x"}}, arguments);
      } catch (const Error& error) {
        return error.kind() == ErrorKind::input ? std::string(error.what()) : std::string();
      }
      return std::string();
    };
    QVERIFY(refusal(*model_with("{{ bos_token }}"), {}).find("not understood") != std::string::npos);
    const auto file = folder_.filePath("base.gguf").toStdString();
    const auto base = checkpoint::open_checkpoint(test::write_tiny_model(file, {.layers = 1, .chat = false}));
    QVERIFY(!tokenizer::has_chat_template(*base));
    QVERIFY(refusal(*base, {}).find("no chat template") != std::string::npos);
    const auto tiny = checkpoint::open_checkpoint(test::write_tiny_model(file, {.layers = 1}));
    QVERIFY(tokenizer::has_chat_template(*tiny));
    QVERIFY(refusal(*tiny, {{"enable_thinking", "true"}}).find("enable_thinking") != std::string::npos);
  }
};

QTEST_MAIN(TestChatTemplate)
#include "test_chat_template.moc"
