#include "../../runtime/tensor.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

#include "../expect_error.h"

namespace tenon {
namespace {

Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(values, shape);
}

TEST(Shape, HoldsUpToSixExtents) {
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ((Shape{2, 3}).str(), "[2, 3]");
  EXPECT_EQ((Shape{1, 2, 3, 4, 5, 6}).numel(), 720);
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_ERROR((Shape{1, 1, 1, 1, 1, 1, 1}), "rank 7");
}

TEST(Tensor, IsMadeFromValues) {
  const Tensor t = Tensor::from({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}, {2, 3});
  EXPECT_EQ(t.dtype(), DType::f32);
  EXPECT_EQ(t.shape(), (Shape{2, 3}));
  EXPECT_EQ(t.dim(-1), 3);
  EXPECT_EQ(t.rows(), 2);
  EXPECT_EQ(t.row<float>(1)[0], 4);
  EXPECT_EQ(t.nbytes(), 24u);
  EXPECT_EQ(Tensor::from_vector<int32_t>({7, 8}).to_vector<int32_t>(), (std::vector<int32_t>{7, 8}));
  EXPECT_ERROR(Tensor::from({1.0f, 2.0f}, {3}), "[3]", "2 values");
}

TEST(Tensor, FillsEveryType) {
  EXPECT_EQ(Tensor::full({3}, 2.5f, DType::f32).to_vector<float>(), (std::vector<float>{2.5f, 2.5f, 2.5f}));
  EXPECT_EQ(to_float(Tensor::full({1}, 1.5f, DType::bf16).data<bf16>()[0]), 1.5f);
  EXPECT_EQ(to_float(Tensor::full({1}, 1.5f, DType::f16).data<f16>()[0]), 1.5f);
  EXPECT_EQ(Tensor::full({}, -3, DType::i64).item<int64_t>(), -3);
  EXPECT_TRUE(*Tensor::full({1}, 1, DType::boolean).data<bool>());
  // Large enough for several threads.
  const Tensor zeros = Tensor::zeros({1 << 20}, DType::i32);
  for (int32_t x : zeros.to_vector<int32_t>()) ASSERT_EQ(x, 0);
}

TEST(Tensor, ViewsShareTheElements) {
  Tensor t = counting({2, 3, 4});
  Tensor middle = t.slice(1, 1, 3);
  EXPECT_EQ(middle.shape(), (Shape{2, 2, 4}));
  EXPECT_TRUE(middle.shares_storage(t));
  EXPECT_FALSE(middle.is_contiguous());
  EXPECT_EQ(middle.to_vector<float>(), (std::vector<float>{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23}));

  Tensor row = t.select(0, 1).select(0, 2);
  EXPECT_EQ(row.to_vector<float>(), (std::vector<float>{20, 21, 22, 23}));
  row.data<float>()[0] = -1;
  EXPECT_EQ(t.data<float>()[20], -1);

  EXPECT_EQ(t.view({4, -1}).shape(), (Shape{4, 6}));
  EXPECT_EQ(t.flatten_rows().shape(), (Shape{6, 4}));
  EXPECT_EQ(t.slice(0, 1, 1).numel(), 0);
  EXPECT_ERROR(t.view({5, -1}), "[2, 3, 4]", "[5, -1]");
  EXPECT_ERROR(t.view({-1, -1}), "more than one");
  EXPECT_ERROR(t.view({7}), "[7]");
  EXPECT_ERROR(middle.view({16}), "not contiguous");
  EXPECT_ERROR(t.slice(1, 2, 4), "[2, 4)");
  EXPECT_ERROR(t.select(2, 4), "4");
  EXPECT_ERROR(t.dim(3), "dimension 3");
}

// Against plain index arithmetic, for sizes around the tiles of the copy and every size of element.
template <class T>
void check_transposes() {
  for (const Shape& s : {Shape{1, 1, 1}, Shape{2, 3, 5}, Shape{3, 33, 65}, Shape{2, 300, 200}}) {
    std::vector<T> values(static_cast<size_t>(s.numel()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i * 7 + 1);
    const Tensor t = Tensor::from(values, s);
    const int64_t strides[] = {s[1] * s[2], s[2], 1};
    for (const auto& [a, b] : {std::pair{0, 1}, {0, 2}, {1, 2}}) {
      const Tensor u = t.transpose(a, b).contiguous();
      Shape to = s;
      std::swap(to[a], to[b]);
      ASSERT_EQ(u.shape(), to);
      int64_t order[] = {strides[0], strides[1], strides[2]};
      std::swap(order[a], order[b]);
      const T* out = u.data<T>();
      for (int64_t i = 0; i < to[0]; ++i)
        for (int64_t j = 0; j < to[1]; ++j)
          for (int64_t k = 0; k < to[2]; ++k)
            ASSERT_EQ(*out++, values[static_cast<size_t>(i * order[0] + j * order[1] + k * order[2])]) << s.str();
    }
  }
}

TEST(Tensor, TransposesOfEverySizeOfElement) {
  check_transposes<uint8_t>();
  check_transposes<float>();
  check_transposes<int64_t>();
  Tensor half = Tensor::full({64, 3}, 2, DType::bf16);
  half.data<bf16>()[1] = from_float<bf16>(5);
  EXPECT_EQ(to_float(half.transpose(0, 1).contiguous().data<bf16>()[64]), 5);
}

TEST(Tensor, CopiesAndClones) {
  Tensor a = counting({4});
  Tensor shared = a, own = a.clone();
  a.data<float>()[0] = 9;
  EXPECT_EQ(shared.data<float>()[0], 9);
  EXPECT_EQ(own.data<float>()[0], 0);
  EXPECT_FALSE(own.shares_storage(a));
  EXPECT_TRUE(a.contiguous().shares_storage(a));
  EXPECT_TRUE(a.to(Device::cpu()).shares_storage(a));
}

TEST(Tensor, BorrowsTheHostsMemory) {
  std::vector<float> mine = {1, 2, 3, 4};
  {
    Tensor t = Tensor::borrow(mine.data(), {2, 2}, DType::f32);
    t.data<float>()[3] = 40;
    EXPECT_EQ(t.transpose(0, 1).contiguous().to_vector<float>(), (std::vector<float>{1, 3, 2, 40}));
  }
  EXPECT_EQ(mine[3], 40);

  auto owner = std::make_shared<std::vector<float>>(4, 1.0f);
  std::weak_ptr<std::vector<float>> watch = owner;
  Tensor view = Tensor::borrow(owner->data(), {4}, DType::f32, Device::cpu(), owner).slice(0, 1, 2);
  owner.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(view.item<float>(), 1);
  view = Tensor();
  EXPECT_TRUE(watch.expired());
  EXPECT_ERROR(Tensor::borrow(nullptr, {1}, DType::f32), "no memory");
}

TEST(Tensor, CountsVersionsPerStorage) {
  Tensor a = Tensor::zeros({2, 2}, DType::f32), view = a.select(0, 1);
  EXPECT_EQ(a.version(), 0u);
  view.bump_version();
  EXPECT_EQ(a.version(), 1u);
  EXPECT_EQ(a.clone().version(), 0u);
}

TEST(Tensor, RefusesWhatCannotBe) {
  Tensor t = Tensor::zeros({2, 3}, DType::bf16);
  EXPECT_ERROR(t.data<float>(), "[2, 3]", "bf16", "f32");
  EXPECT_ERROR(t.item<bf16>(), "6 elements");
  EXPECT_ERROR(Tensor().data<float>(), "undefined");
  EXPECT_ERROR(Tensor::empty({-1, 2}, DType::f32), "[-1, 2]", "negative");
  EXPECT_ERROR(Tensor::empty({int64_t{1} << 40, int64_t{1} << 40}, DType::f32), "larger than any memory");
  EXPECT_ERROR(Tensor::zeros({1}, DType::f32, Device::cuda(1)), "cuda:1");
  EXPECT_EQ(Tensor::zeros({0, 3}, DType::f32).clone().numel(), 0);
}

TEST(Device, HasNames) {
  EXPECT_EQ(Device::cuda(2).name(), "cuda:2");
  EXPECT_EQ(Device::from_name("cuda:2"), Device::cuda(2));
  EXPECT_EQ(Device::from_name("cpu"), Device::cpu());
  EXPECT_EQ(Device::from_name("auto"), Device::best());
  EXPECT_ERROR(Device::from_name("cuda:x"), "cuda:x");
  EXPECT_ERROR(Device::from_name("gpu"), "gpu");
}

}  // namespace
}  // namespace tenon
