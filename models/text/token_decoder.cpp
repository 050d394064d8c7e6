#include "token_decoder.h"

#include "byte_alphabet.h"
#include "json_fields.h"
#include "pattern.h"
#include "unicode.h"

namespace tenon::text {
namespace {

class Join final : public DecodeStep {
 public:
  void push(std::string_view piece, const Emit& emit) override {
    if (!first_) emit(" ");
    first_ = false;
    emit(piece);
  }

 private:
  bool first_ = true;
};

class ByteLevelStep final : public DecodeStep {
 public:
  void push(std::string_view piece, const Emit& emit) override {
    const auto bytes = alphabet_to_bytes(piece);
    emit(bytes ? std::string_view(*bytes) : piece);
  }
};

class MetaspaceStep final : public DecodeStep {
 public:
  MetaspaceStep(std::string replacement, bool prefix) : replacement_(std::move(replacement)), prefix_(prefix) {}
  void push(std::string_view piece, const Emit& emit) override {
    std::string text;
    while (!piece.empty()) {
      if (piece.starts_with(replacement_)) {
        if (!(first_ && prefix_)) text += ' ';
        piece.remove_prefix(replacement_.size());
      } else {
        text += piece[0];
        piece.remove_prefix(1);
      }
    }
    first_ = false;
    emit(text);
  }

 private:
  std::string replacement_;
  bool prefix_, first_ = true;
};

class ReplaceStep final : public DecodeStep {
 public:
  ReplaceStep(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void push(std::string_view piece, const Emit& emit) override {
    std::vector<TextSpan> found;
    pattern_.find_all(piece, found);
    std::string text;
    size_t done = 0;
    for (const TextSpan& span : found) {
      text.append(piece.substr(done, span.begin - done)).append(content_);
      done = span.end;
    }
    emit(text.append(piece.substr(done)));
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// A run of <0xE4> tokens is a text if its bytes are UTF-8, and one U+FFFD for each byte if they are not.
class ByteFallbackStep final : public DecodeStep {
 public:
  void push(std::string_view piece, const Emit& emit) override {
    const int byte = byte_of(piece);
    if (byte >= 0) {
      run_.push_back(static_cast<char>(byte));
      return;
    }
    finish(emit);
    emit(piece);
  }
  void finish(const Emit& emit) override {
    if (run_.empty()) return;
    if (valid_utf8_prefix(run_) == run_.size()) {
      emit(run_);
    } else {
      for (size_t i = 0; i < run_.size(); ++i) emit("\uFFFD");
    }
    run_.clear();
  }

 private:
  static int digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  }
  static int byte_of(std::string_view piece) {
    if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
    const int high = digit(piece[3]), low = digit(piece[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
  }
  std::string run_;
};

// Takes up to `start` characters off the front and `stop` off the end of each piece; off the whole text if that was
// fused before.
class StripStep final : public DecodeStep {
 public:
  StripStep(std::string content, int64_t start, int64_t stop, bool fused)
      : content_(std::move(content)), start_(start), stop_(stop), left_(start), fused_(fused) {}
  void push(std::string_view piece, const Emit& emit) override {
    if (!fused_) left_ = start_;
    while (left_ > 0 && piece.starts_with(content_)) piece.remove_prefix(content_.size()), --left_;
    if (!piece.empty()) left_ = 0;
    for (int64_t i = 0; i < stop_ && piece.ends_with(content_); ++i) piece.remove_suffix(content_.size());
    if (!piece.empty()) emit(piece);
  }

 private:
  std::string content_;
  int64_t start_, stop_, left_;
  bool fused_;
};

}  // namespace

TokenDecoder::TokenDecoder(const Json& json, const std::string& where) {
  if (json.is_null()) {
    steps_.emplace_back([] { return std::make_unique<Join>(); });
    return;
  }
  for (const auto& [part, place] : parts_of(json, "decoders", where)) add(*part, place);
  only_byte_level_ = only_byte_level_ && steps_.size() == 1;
}

void TokenDecoder::add(const Json& json, const std::string& where) {
  const std::string type = string_field(json, "type", where);
  check(!fused_ || type == "Strip" || type == "Fuse", "{}: decoder {} after Fuse or ByteLevel is not supported", where,
        type);
  if (type == "ByteLevel") {
    only_byte_level_ = fused_ = true;
    steps_.emplace_back([] { return std::make_unique<ByteLevelStep>(); });
  } else if (type == "Metaspace") {
    const std::string replacement = string_field(json, "replacement", where, "\u2581");
    check(!replacement.empty(), "{}: the replacement is empty", where);
    const bool legacy = bool_field(json, "add_prefix_space", where, true);
    const bool prefix = string_field(json, "prepend_scheme", where, legacy ? "always" : "never") != "never";
    steps_.emplace_back([=] { return std::make_unique<MetaspaceStep>(replacement, prefix); });
  } else if (type == "Replace") {
    const Json* pattern = find_field(json, "pattern", where);
    check(pattern != nullptr, "{}: needs a 'pattern'", where);
    steps_.emplace_back([p = Pattern(*pattern, where), content = string_field(json, "content", where)] {
      return std::make_unique<ReplaceStep>(p, content);
    });
  } else if (type == "ByteFallback") {
    steps_.emplace_back([] { return std::make_unique<ByteFallbackStep>(); });
  } else if (type == "Fuse") {
    fused_ = true;
  } else if (type == "Strip") {
    const std::string content = string_field(json, "content", where);
    const int64_t start = integer_field(json, "start", where, 0), stop = integer_field(json, "stop", where, 0);
    check(!content.empty() && start >= 0 && stop >= 0, "{}: Strip needs a content and counts that are not negative",
          where);
    check(!fused_ || stop == 0, "{}: Strip at the end after Fuse or ByteLevel is not supported", where);
    steps_.emplace_back(
        [content, start, stop, fused = fused_] { return std::make_unique<StripStep>(content, start, stop, fused); });
  } else {
    fail("{}: decoder {} is not supported (known: ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence)",
         where, type);
  }
}

TokenDecoder::Stream TokenDecoder::stream() const {
  Stream stream;
  for (const auto& make : steps_) stream.steps_.push_back(make());
  return stream;
}

void TokenDecoder::Stream::run(size_t step, std::string_view piece, std::string& out) {
  if (step == steps_.size()) {
    out += piece;
    return;
  }
  steps_[step]->push(piece, [&](std::string_view next) { run(step + 1, next, out); });
}

void TokenDecoder::Stream::push(std::string_view token, std::string& out) { run(0, token, out); }

void TokenDecoder::Stream::finish(std::string& out) {
  for (size_t i = 0; i < steps_.size(); ++i) steps_[i]->finish([&](std::string_view piece) { run(i + 1, piece, out); });
}

}  // namespace tenon::text
