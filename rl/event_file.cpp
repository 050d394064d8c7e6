#include "event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c >> 1) ^ ((c & 1) ? 0x82F63B78u : 0u);
    table[i] = c;
  }
  return table;
}

void put_le(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

// TensorFlow stores checksums rotated and offset, so that the checksum of data that holds checksums is still a good
// one.
void put_masked_crc(std::string& out, std::string_view data) {
  const uint32_t crc = crc32c(data);
  put_le(out, ((crc >> 15) | (crc << 17)) + 0xA282EAD8u, 4);
}

// The wire format of protocol buffers: a key (field number << 3 | type), then the value.
void put_varint(std::string& out, uint64_t v) {
  while (v >= 0x80) {
    out += static_cast<char>(v | 0x80);
    v >>= 7;
  }
  out += static_cast<char>(v);
}
void put_double(std::string& out, int field, double v) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | 1);
  put_le(out, std::bit_cast<uint64_t>(v), 8);
}
void put_float(std::string& out, int field, float v) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | 5);
  put_le(out, std::bit_cast<uint32_t>(v), 4);
}
void put_int(std::string& out, int field, int64_t v) {
  put_varint(out, static_cast<uint64_t>(field) << 3);
  put_varint(out, static_cast<uint64_t>(v));
}
void put_bytes(std::string& out, int field, std::string_view v) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | 2);
  put_varint(out, v.size());
  out += v;
}

// Event: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
std::string event_head(int64_t step) {
  std::string event;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  put_double(event, 1, std::chrono::duration<double>(now).count());
  if (step != 0) put_int(event, 2, step);
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

EventWriter::EventWriter(const std::string& folder, int64_t first_step) {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::string number = std::to_string(seconds);
  const std::string stem = folder + "/events.out.tfevents." + number + "." + host + "." + std::to_string(::getpid());
  // Readers take files in the order of their names; a second file of the same process and second must come after the
  // first.
  for (int i = 0; !file_ && i < 1000; ++i) {
    path_ = stem + "." + std::to_string(i);
    file_ = std::fopen(path_.c_str(), "wbxe");
    check(file_ || errno == EEXIST, "{}: cannot be made: {}", path_, std::strerror(errno));
  }
  check(file_ != nullptr, "{}: cannot be made", path_);
  std::string event = event_head(0);
  put_bytes(event, 3, "brain.Event:2");
  record(event);
  if (first_step >= 0) {
    std::string log;
    put_int(log, 1, 1);  // SessionLog.status = START: events of an earlier file from this step on are obsolete
    event = event_head(first_step);
    put_bytes(event, 7, log);
    record(event);
  }
  flush();
}

EventWriter::~EventWriter() {
  if (file_) std::fclose(file_);
}

void EventWriter::record(std::string_view event) {
  std::string head;
  put_le(head, event.size(), 8);
  std::string out = head;
  put_masked_crc(out, head);
  out += event;
  put_masked_crc(out, event);
  check(std::fwrite(out.data(), 1, out.size(), file_) == out.size(), "{}: cannot be written: {}", path_,
        std::strerror(errno));
}

void EventWriter::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;  // Summary: 1 value; Value: 1 tag, 2 simple_value
  for (const auto& [tag, value] : values) {
    std::string one;
    put_bytes(one, 1, tag);
    put_float(one, 2, static_cast<float>(value));
    put_bytes(summary, 1, one);
  }
  std::string event = event_head(step);
  put_bytes(event, 5, summary);
  record(event);
}

void EventWriter::flush() { check(std::fflush(file_) == 0, "{}: cannot be written: {}", path_, std::strerror(errno)); }

}  // namespace tenon::rl
