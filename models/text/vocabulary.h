// Tokens by id and ids by token. Internal.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tenon::text {

class Vocabulary {
 public:
  static constexpr int64_t kMaxId = int64_t{1} << 22;  // no vocabulary comes near; a file that says more lies

  /// Ids may come in any order and leave gaps. Error on an id that is negative, beyond 2^22 or taken, or a token given
  /// twice.
  void add(std::string_view token, int64_t id, const std::string& where);

  int32_t find(std::string_view token) const {  // -1: not there
    const auto it = ids_.find(token);
    return it == ids_.end() ? -1 : it->second;
  }
  bool contains(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens_.size() && tokens_[static_cast<size_t>(id)].data() != nullptr;
  }
  std::string_view token(int32_t id) const {
    return contains(id) ? tokens_[static_cast<size_t>(id)] : std::string_view{};
  }
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }  // one more than the largest id
  size_t count() const { return ids_.size(); }
  void reserve(size_t tokens);

 private:
  std::deque<std::string> storage_;
  std::vector<std::string_view> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;
};

}  // namespace tenon::text
