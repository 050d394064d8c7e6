#include "profile.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "error.h"

namespace tenon::profile {

namespace detail {

std::atomic<bool> on{false};

struct Entry {
  OpTotal total;
};

}  // namespace detail

namespace {

using Clock = std::chrono::steady_clock;
using detail::Entry;

// Times in a stream that are not read yet.
struct Span {
  Entry *entry, *outer;
  cuda::Mark begin, end;
};

// Beyond this many, those that have happened are read: few enough to keep the pool of events small.
constexpr size_t kMaxSpans = 4096;

class Profile {
 public:
  void start() {
    std::lock_guard lock(mutex_);
    spans_.clear();
    // An op may be under way, so entries stay.
    for (auto& [key, entry] : entries_) entry.total = {entry.total.op, entry.total.device, 0, 0, {}};
    begun_ = Clock::now();
    detail::on = true;
  }

  void stop() {
    std::lock_guard lock(mutex_);
    if (detail::on.exchange(false)) ended_ = Clock::now();
  }

  double seconds() {
    std::lock_guard lock(mutex_);
    return std::chrono::duration<double>((detail::on ? Clock::now() : ended_) - begun_).count();
  }

  Entry& call(const char* op, Device device, const Cost& cost) {
    std::lock_guard lock(mutex_);
    Entry& entry = entries_[{op, device.is_cpu() ? -1 : device.index}];
    OpTotal& total = entry.total;
    if (total.op.empty()) {
      total.op = op;
      total.device = device;
    }
    ++total.calls;
    total.cost.bytes += cost.bytes;
    total.cost.f32_flops += cost.f32_flops;
    total.cost.bf16_flops += cost.bf16_flops;
    return entry;
  }

  void add(Entry& entry, Entry* outer, double seconds) {
    std::lock_guard lock(mutex_);
    count(entry, outer, seconds);
  }

  void add(Span span) {
    std::lock_guard lock(mutex_);
    spans_.push_back(std::move(span));
    while (spans_.size() > kMaxSpans && spans_.front().end.reached()) read_oldest();
  }

  std::vector<OpTotal> totals() {
    std::lock_guard lock(mutex_);
    while (!spans_.empty()) read_oldest();
    std::vector<OpTotal> all;
    for (const auto& [key, entry] : entries_)
      if (entry.total.calls) all.push_back(entry.total);
    std::ranges::stable_sort(all, [](const OpTotal& a, const OpTotal& b) { return a.seconds > b.seconds; });
    return all;
  }

 private:
  void read_oldest() {
    const Span span = std::move(spans_.front());
    spans_.pop_front();
    count(*span.entry, span.outer, span.end.seconds_since(span.begin));
  }

  static void count(Entry& entry, Entry* outer, double seconds) {
    entry.total.seconds += seconds;
    if (outer && outer->total.device == entry.total.device) outer->total.seconds -= seconds;
  }

  std::mutex mutex_;
  std::map<std::pair<std::string, int>, Entry> entries_;  // by op and index of the GPU
  std::deque<Span> spans_;
  Clock::time_point begun_{}, ended_{};
};

// Never destroyed: threads may measure until the process ends.
Profile& profile() {
  static auto* one = new Profile;
  return *one;
}

thread_local OpTimer* innermost = nullptr;

}  // namespace

void start() { profile().start(); }
void stop() { profile().stop(); }
double seconds() { return profile().seconds(); }
std::vector<OpTotal> totals() { return profile().totals(); }

void OpTimer::begin(const char* op, Device device, const Cost& cost) {
  if (!device.is_cpu()) {
    mark_ = cuda::Mark(device);
    if (!mark_) return;
  }
  entry_ = &profile().call(op, device, cost);
  outer_ = std::exchange(innermost, this);
  begun_ = Clock::now();
}

void OpTimer::end() noexcept {
  const auto now = Clock::now();
  innermost = outer_;
  Entry* outer = outer_ ? outer_->entry_ : nullptr;
  const Device device = entry_->total.device;
  if (device.is_cpu()) return profile().add(*entry_, outer, std::chrono::duration<double>(now - begun_).count());
  try {
    cuda::Mark end(device);
    if (end) profile().add({entry_, outer, std::move(mark_), std::move(end)});
  } catch (const Error&) {
    // the device has failed, and so will the next call of it
  }
}

}  // namespace tenon::profile
