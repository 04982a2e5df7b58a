// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/engine_tiles.h"

#include <QPointer>

#include "base/error.h"

namespace headroom::gui {

EngineTiles::EngineTiles(EngineClient& engine, QObject* parent) : QObject(parent), engine_(engine) {
  connect(&engine_, &EngineClient::notified, this, [this](const QString& method, const nlohmann::json& params) {
    if (method != protocol::method::job_prepared) return;
    try {
      run_id_ = QString::fromStdString(protocol::job_prepared_from_json(params).meta.run_id);
    } catch (const Error&) {
      run_id_.clear();  // without it no tile is asked for
    }
  });
  connect(&engine_, &EngineClient::state_changed, this, [this] {
    if (engine_.state() != EngineClient::State::ready) run_id_.clear();
  });
}

bool EngineTiles::can_provide(const views::MapId& map) const {
  return engine_.state() == EngineClient::State::ready && !run_id_.isEmpty() && map.run_id == run_id_;
}

quint64 EngineTiles::request(const views::MapId& map, record::TileAddress address,
                             std::function<void(std::shared_ptr<const record::Tile>, const QString&)> done) {
  const quint64 number = next_++;
  wanted_.insert(number, 0);
  protocol::TileParams params;
  params.run_id = map.run_id.toStdString();
  params.method = map.method.toStdString();
  params.layer = map.layer;
  params.head = map.head;
  params.address = address;
  const auto answer = [self = QPointer<EngineTiles>(this), number, done = std::move(done)](
                          const nlohmann::json& result, const protocol::ErrorInfo* error) {
    if (!self || !self->wanted_.remove(number)) return;
    if (error) return done(nullptr, QString::fromStdString(error->line()));
    try {
      done(std::make_shared<record::Tile>(protocol::tile_result_from_json(result).tile), {});
    } catch (const Error& bad) {
      done(nullptr, QString::fromUtf8(bad.what()));
    }
  };
  // Queued, so that an engine that refuses at once does not answer inside this call.
  QMetaObject::invokeMethod(
      this,
      [this, number, params, answer] {
        if (!wanted_.contains(number)) return;  // scrolled past before it was sent
        const std::int64_t sent = engine_.request(protocol::method::tile, protocol::to_json(params), answer);
        if (const auto entry = wanted_.find(number); entry != wanted_.end()) entry.value() = sent;
      },
      Qt::QueuedConnection);
  return number;
}

void EngineTiles::cancel(quint64 request) {
  if (const std::int64_t sent = wanted_.take(request); sent != 0) engine_.cancel(sent);
}

}  // namespace headroom::gui
