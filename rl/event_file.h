// TensorBoard's event files: length-prefixed records with masked CRC-32C, each an `Event` message of
// tensorflow/core/util/event.proto.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon::rl {

/// CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected), as in RFC 3720.
uint32_t crc32c(std::string_view bytes);

class EventWriter {
 public:
  /// Makes a new file events.out.tfevents.SECONDS.HOST.PID in `folder`. `first_step` >= 0 tells readers to forget what
  /// earlier files say of that step and later ones.
  EventWriter(const std::string& folder, int64_t first_step);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void flush();
  const std::string& path() const { return path_; }

 private:
  void record(std::string_view event);

  std::string path_;
  std::FILE* file_ = nullptr;
};

}  // namespace tenon::rl
