#include "device_sum.h"

#include "../ops/elementwise.h"

namespace tenon::rl {

void DeviceSum::add(const Tensor& number, double weight) {
  if (number.device().is_cpu())
    sum_ += weight * static_cast<double>(number.item<float>());
  else
    parts_.emplace_back(number, weight);
}

double DeviceSum::value() const {
  double sum = sum_;
  for (const auto& [number, weight] : parts_) sum += weight * static_cast<double>(number.item<float>());
  return sum;
}

Tensor DeviceSum::on(Device device) const {
  Tensor sum = Tensor::full({}, static_cast<float>(sum_), DType::f32, device);
  for (const auto& [number, weight] : parts_) ops::add_into(sum, number, static_cast<float>(weight));
  return sum;
}

}  // namespace tenon::rl
