// A hash that is the same on every machine and in every run: keys of random streams and fingerprints depend on it.
#pragma once

#include <cstdint>
#include <string_view>

namespace tenon {

/// FNV-1a of `bytes`; `hash` of what stood before, to go on from.
constexpr uint64_t fnv1a(std::string_view bytes, uint64_t hash = 0xcbf29ce484222325u) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace tenon
