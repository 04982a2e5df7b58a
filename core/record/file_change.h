// SPDX-License-Identifier: Apache-2.0
// What can happen to a record's file behind the back of those who read it.
#pragma once

namespace headroom::record {

/// What has become of the file at a path since it was opened.
enum class FileChange {
  none,
  changed,   ///< written into: what is read from it is checked against checksums that may no longer be its own
  replaced,  ///< another file stands there; the one that was opened can still be read
  gone
};

}  // namespace headroom::record
