// SPDX-License-Identifier: Apache-2.0
// Chunks of a file's datasets that threads compress while the caller makes the next ones, written in the order that
// they were given: shuffle, gzip 1 and fletcher32 as the HDF5 library would apply them, byte for byte. Internal to
// core/record; everything here is called under a Library lock.
#pragma once

#include <memory>
#include <string>

#include "record/hdf5_io.h"

namespace headroom::record::hdf5 {

/// From now on whole chunks of the file may wait. It ends with forget_waiting(), before the file is closed.
void let_chunks_wait(hid_t file);
/// Writes what waits. Before anything that goes by the file's size or reads it. Throws as write_raw().
void write_waiting(hid_t file, const std::string& place);
/// Drops what waits, and lets nothing wait from now on.
void forget_waiting(hid_t file);

/// Takes the box [at, at + size) of a dataset if the file's chunks may wait and the box is whole chunks; else false,
/// and nothing is done. Copies `data`. May write earlier chunks, and throw as write_raw().
bool wait_with_box(hid_t file, const std::shared_ptr<Handle>& dataset, const std::string& path, Element element,
                   const Extent& at, const Extent& size, const void* data, const std::string& place);

}  // namespace headroom::record::hdf5
