// Where a tensor lives and its operations run.
#pragma once

#include <cstdint>
#include <string>

namespace tenon {

struct Device {
  enum class Type : uint8_t { cpu, cuda };

  Type type = Type::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index = 0) { return {Type::cuda, index}; }
  /// The first GPU if this build and machine have one, else the CPU.
  static Device best();
  /// "cpu", "cuda", "cuda:1"; "best" and "auto" for best(). Throws Error for anything else.
  static Device from_name(const std::string& name);

  bool is_cpu() const { return type == Type::cpu; }
  std::string name() const;

  friend bool operator==(const Device&, const Device&) = default;
};

}  // namespace tenon
