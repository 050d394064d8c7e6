#include "long_work.h"

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

constexpr std::chrono::seconds kUnseen{1};

}  // namespace

LongWork::LongWork(const RunControl& control, std::string title, int64_t total)
    : control_(control), title_(std::move(title)), total_(total) {}

LongWork::~LongWork() {
  if (shown_) control_.progress->end();
}

void LongWork::advance() {
  check(!control_.stop || !control_.stop->load(std::memory_order_relaxed), "interrupted");
  ++done_;
  if (!control_.progress) return;
  if (!shown_ && done_ < total_ && std::chrono::steady_clock::now() - begun_ > kUnseen) {
    control_.progress->begin(title_, total_, done_);
    shown_ = true;
  }
  if (shown_) control_.progress->update(done_);
}

}  // namespace tenon::rl
