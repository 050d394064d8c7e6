// The decoder of a tokenizer.json: tokens to text, one by one, so that decoding a stream is the same work as decoding a
// list. Internal.
//
// Known: ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence; without a decoder tokens are joined by
// spaces.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../../runtime/json.h"

namespace tenon::text {

/// One step at work on one text: takes pieces, gives pieces.
class DecodeStep {
 public:
  using Emit = std::function<void(std::string_view)>;
  virtual ~DecodeStep() = default;
  virtual void push(std::string_view piece, const Emit&) = 0;
  virtual void finish(const Emit&) {}
};

class TokenDecoder {
 public:
  TokenDecoder() = default;
  TokenDecoder(const Json& decoder_or_null, const std::string& where);

  /// Whether tokens are bytes in the alphabet of byte_alphabet.h and nothing else happens to them.
  bool only_byte_level() const { return only_byte_level_; }

  class Stream {
   public:
    void push(std::string_view token, std::string& out);
    void finish(std::string& out);

   private:
    friend class TokenDecoder;
    void run(size_t step, std::string_view piece, std::string& out);
    std::vector<std::unique_ptr<DecodeStep>> steps_;
  };
  Stream stream() const;

 private:
  void add(const Json&, const std::string& where);
  std::vector<std::function<std::unique_ptr<DecodeStep>()>> steps_;
  bool only_byte_level_ = false, fused_ = false;
};

}  // namespace tenon::text
