#include "../../runtime/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "../../runtime/json.h"
#include "../../runtime/memory.h"
#include "../expect_error.h"
#include "../full_disk.h"
#include "../temp_dir.h"

namespace tenon {
namespace {

using testing::FullDisk;
using testing::read_text;
using testing::TempDir;
using testing::write_text;

// A file of any header and any number of element bytes, right or wrong.
std::string raw_file(const std::string& header, size_t element_bytes, int64_t claimed = -1) {
  const uint64_t length = claimed >= 0 ? static_cast<uint64_t>(claimed) : header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + std::string(element_bytes, '\x01');
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

class SafetensorsFile : public ::testing::Test {
 protected:
  // What opening a file of these bytes must say.
  void refuses(const std::string& bytes, std::initializer_list<std::string> parts) {
    const std::string path = dir_ / "hostile.safetensors";
    write_text(path, bytes);
    std::vector<std::string> all(parts);
    EXPECT_TRUE(testing::throws_error([&] { Safetensors::open(path); }, parts));
    EXPECT_TRUE(testing::throws_error([&] { Safetensors::open(path); }, {"hostile.safetensors"}));
  }
  TempDir dir_;
};

TEST_F(SafetensorsFile, ComesBackAsItWasSaved) {
  const std::string path = dir_ / "a.safetensors";
  Tensor big = Tensor::full({3, 5}, 1.5f, DType::bf16);
  big.data<bf16>()[7] = from_float<bf16>(-2);
  const NamedTensors tensors = {
      {"flags", Tensor::full({3}, 1, DType::boolean)},
      {"bytes", Tensor::from<uint8_t>({1, 2, 3}, {3})},
      {"weight", big},
      {"transposed", Tensor::from({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}, {2, 3}).transpose(0, 1)},
      {"ids", Tensor::from<int32_t>({-1, 7}, {2, 1})},
      {"step", Tensor::from<int64_t>({int64_t{1} << 40}, {})},
      {"half", Tensor::full({2}, 0.25f, DType::f16)},
      {"nothing", Tensor::zeros({0, 4}, DType::f32)}};
  save_safetensors(path, tensors, {{"note", "x \"y\""}});

  const Safetensors file = Safetensors::open(path);
  EXPECT_EQ(file.entries().size(), tensors.size());
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"note", "x \"y\""}}));
  for (const auto& [name, saved] : tensors) {
    const Tensor loaded = file.tensor(name);
    ASSERT_EQ(loaded.dtype(), saved.dtype()) << name;
    ASSERT_EQ(loaded.shape(), saved.shape()) << name;
    const Tensor plain = saved.contiguous();
    EXPECT_EQ(std::memcmp(loaded.raw(), plain.raw(), plain.nbytes()), 0) << name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(loaded.raw()) % size_of(loaded.dtype()), 0u) << name;
  }
  EXPECT_TRUE(file.contains("ids"));
  EXPECT_FALSE(file.contains("__metadata__"));
  EXPECT_ERROR(file.tensor("absent"), "absent", path);
  EXPECT_ERROR(save_safetensors(path, {{"a", big}, {"a", big}}), "a", "twice");
  EXPECT_ERROR(save_safetensors(path, {{"a", Tensor()}}), "undefined");
  EXPECT_ERROR(save_safetensors(path, {{"\xff", big}}), "UTF-8");
}

TEST_F(SafetensorsFile, StaysOpenWithItsTensors) {
  const std::string path = dir_ / "a.safetensors";
  save_safetensors(path, {{"a", Tensor::from({1.0f, 2.0f}, {2})}});
  const size_t before = memory_current(Device::cpu());
  const Tensor a = Safetensors::open(path).tensor("a");
  EXPECT_EQ(memory_current(Device::cpu()), before) << "a view of the mapping allocates nothing";
  save_safetensors(path, {{"a", Tensor::from({7.0f, 8.0f}, {2})}});  // replaced while it is mapped
  EXPECT_EQ(a.to_vector<float>(), (std::vector<float>{1, 2}));
  EXPECT_EQ(Safetensors::open(path).tensor("a").to_vector<float>(), (std::vector<float>{7, 8}));
}

TEST_F(SafetensorsFile, ReadsElementsOutOfLine) {
  write_text(dir_ / "odd",
             raw_file("{" + entry("b", "U8", "[1]", "[0,1]") + "," + entry("f", "F32", "[2]", "[1,9]") + "}", 9));
  const Tensor f = Safetensors::open(dir_ / "odd").tensor("f");
  uint32_t bits = 0;
  std::memcpy(&bits, f.data<float>(), 4);
  EXPECT_EQ(bits, 0x01010101u);
}

TEST_F(SafetensorsFile, RefusesFalseHeaders) {
  const std::string good = "{" + entry("a", "F32", "[2,2]", "[0,16]") + "}";
  EXPECT_NO_THROW((write_text(dir_ / "good", raw_file(good, 16)), Safetensors::open(dir_ / "good")));
  refuses("", {"0 bytes"});
  refuses("abc", {"3 bytes"});
  refuses(raw_file(good, 16, 1 << 20), {"claims 1048576 bytes"});
  refuses(raw_file(good, 16, INT64_MAX), {"claims"});
  refuses(std::string(8, '\xff') + good, {"claims 18446744073709551615 bytes"});
  refuses(raw_file(good, 16).substr(0, 30), {"claims"});
  refuses(raw_file("", 0), {"does not begin with {"});
  refuses(raw_file("[1, 2]", 0), {"does not begin with {"});
  refuses(raw_file("{\"a\": ", 0), {"not valid JSON"});
  refuses(raw_file(good + "}", 16), {"not valid JSON"});
  refuses(raw_file("{\"a\":" + std::string(100'000, '['), 0), {"not valid JSON"});
  refuses(raw_file("{\"a\":1}", 0), {"tensor a"});
  refuses(raw_file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), {"tensor a", "data_offsets"});
  refuses(raw_file("{\"__metadata__\":{\"a\":1}}", 0), {"__metadata__"});
}

TEST_F(SafetensorsFile, RefusesFalseEntries) {
  refuses(raw_file("{" + entry("a", "F32", "[2,2]", "[0,16]") + "}", 12), {"tensor a", "0 to 16", "has 12"});
  refuses(raw_file("{" + entry("a", "F32", "[2,2]", "[0,12]") + "}", 12), {"tensor a", "[2, 2]", "12 bytes"});
  refuses(raw_file("{" + entry("a", "F32", "[4]", "[16,0]") + "}", 16), {"tensor a"});
  refuses(raw_file("{" + entry("a", "F32", "[4]", "[0,16,16]") + "}", 16), {"data_offsets"});
  refuses(raw_file("{" + entry("a", "F32", "[-4]", "[0,16]") + "}", 16), {"-4", "natural number"});
  refuses(raw_file("{" + entry("a", "F32", "[4.0]", "[0,16]") + "}", 16), {"natural number"});
  refuses(raw_file("{" + entry("a", "F32", "[4]", "[-16,0]") + "}", 16), {"natural number"});
  refuses(raw_file("{" + entry("a", "F32", "4", "[0,16]") + "}", 16), {"no list"});
  refuses(raw_file("{" + entry("a", "F32", "[1,1,1,1,1,1,4]", "[0,16]") + "}", 16), {"7 dimensions"});
  refuses(raw_file("{" + entry("a", "F8_E5M2", "[16]", "[0,16]") + "}", 16), {"tensor a is F8_E5M2"});
  // Products that overflow 64 bits to what would fit.
  refuses(raw_file("{" + entry("a", "F32", "[4611686018427387904,4]", "[0,0]") + "}", 0), {"tensor a"});
  refuses(raw_file("{" + entry("a", "U8", "[18446744073709551615]", "[0,0]") + "}", 0), {"tensor a"});
  refuses(raw_file("{" + entry("a", "U8", "[99999999999999999999999]", "[0,0]") + "}", 0), {"natural number"});
  // An enormous claim is refused before anything of its size is allocated.
  reset_peak(Device::cpu());
  const size_t before = memory_peak(Device::cpu());
  refuses(raw_file("{" + entry("a", "U8", "[1000000000000000]", "[0,1000000000000000]") + "}", 16), {"tensor a"});
  EXPECT_EQ(memory_peak(Device::cpu()), before);
}

TEST_F(SafetensorsFile, RefusesOverlapsGapsAndDuplicates) {
  refuses(raw_file("{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "F32", "[2]", "[4,12]") + "}", 12),
          {"a and b overlap"});
  refuses(raw_file("{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "F32", "[2]", "[0,8]") + "}", 8),
          {"a and b overlap"});
  refuses(raw_file("{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "F32", "[1]", "[12,16]") + "}", 16),
          {"4 bytes before tensor b"});
  refuses(raw_file("{" + entry("a", "F32", "[2]", "[4,12]") + "}", 12), {"4 bytes before tensor a"});
  refuses(raw_file("{" + entry("a", "F32", "[2]", "[0,8]") + "}", 12), {"4 bytes at the end"});
  refuses(raw_file("{}", 4), {"4 bytes at the end"});
  refuses(raw_file("{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("a", "U8", "[1]", "[1,2]") + "}", 2),
          {"\"a\"", "twice"});
  EXPECT_ERROR(Safetensors::open(dir_ / "absent"), "absent", "No such file");
  EXPECT_ERROR(Safetensors::open(dir_.path()), "not a file");
}

TEST_F(SafetensorsFile, AFullDiskLeavesTheOldOneWhole) {
  FullDisk disk(64 << 10);
  const std::string path = disk / "model.safetensors";
  save_safetensors(path, {{"a", Tensor::full({100}, 1, DType::f32)}});
  EXPECT_ERROR(save_safetensors(path, {{"a", Tensor::full({100'000}, 2, DType::f32)}}), path);
  EXPECT_EQ(Safetensors::open(path).tensor("a").data<float>()[99], 1);
}

NamedTensors three_tensors() {
  return {{"x", Tensor::full({10}, 1, DType::f32)},
          {"y", Tensor::full({10}, 2, DType::f32)},
          {"z", Tensor::full({20}, 3, DType::bf16)}};
}

TEST(ShardedSafetensors, SplitsAndComesBack) {
  TempDir dir;
  save_sharded_safetensors(dir.path(), three_tensors(), 60);
  const Json index = read_json(dir / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 120);
  EXPECT_EQ(index["weight_map"]["x"], "model-00001-of-00003.safetensors");
  const auto folder = ShardedSafetensors::open_dir(dir.path());
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_EQ(folder.tensor("y").to_vector<float>(), std::vector<float>(10, 2.0f));
  EXPECT_EQ(folder.entry("z").dtype, DType::bf16);
  EXPECT_TRUE(folder.contains("z"));
  EXPECT_ERROR(folder.tensor("w"), "w");

  // A save in the other form leaves nothing of this one.
  save_sharded_safetensors(dir.path(), three_tensors());
  EXPECT_TRUE(std::filesystem::exists(dir / "model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(dir / "model.safetensors.index.json"));
  EXPECT_FALSE(std::filesystem::exists(dir / "model-00001-of-00003.safetensors"));
  save_sharded_safetensors(dir.path(), three_tensors(), 90);
  EXPECT_FALSE(std::filesystem::exists(dir / "model.safetensors"));
  EXPECT_EQ(ShardedSafetensors::open_dir(dir.path()).tensor("x").data<float>()[0], 1);
}

TEST(ShardedSafetensors, NamesWhatIsMissing) {
  TempDir dir;
  EXPECT_ERROR(ShardedSafetensors::open_dir(dir / "none"), "none", "no such folder");
  EXPECT_ERROR(ShardedSafetensors::open_dir(dir.path()), "neither model.safetensors nor");
  save_sharded_safetensors(dir.path(), three_tensors(), 60);
  std::filesystem::remove(dir / "model-00002-of-00003.safetensors");
  EXPECT_ERROR(ShardedSafetensors::open_dir(dir.path()), "missing: model-00002-of-00003.safetensors");
  save_safetensors(dir / "model-00002-of-00003.safetensors", {{"other", Tensor::zeros({1}, DType::f32)}});
  EXPECT_ERROR(ShardedSafetensors::open_dir(dir.path()), "tensor y", "model-00002-of-00003.safetensors");
  save_safetensors(dir / "model-00002-of-00003.safetensors",
                   {{"x", Tensor::zeros({1}, DType::f32)}, {"y", Tensor::zeros({1}, DType::f32)}});
  EXPECT_ERROR(ShardedSafetensors::open_dir(dir.path()), "tensor x is in", "and in");
}

TEST(ShardedSafetensors, RefusesFalseIndexes) {
  TempDir dir;
  const std::string index = dir / "model.safetensors.index.json";
  for (const char* text :
       {"{}", "[]", "{\"weight_map\": []}", "{\"weight_map\": {\"a\": 1}}", "{\"weight_map\": {}}"}) {
    write_text(index, text);
    EXPECT_ERROR(ShardedSafetensors::open_dir(dir.path()), "index.json") << text;
  }
  for (const char* name : {"../a.safetensors", "/etc/passwd", "", ".."}) {
    write_text(index, std::string("{\"weight_map\": {\"a\": \"") + name + "\"}}");
    EXPECT_ERROR(ShardedSafetensors::open_dir(dir.path()), "no name of a file in its folder") << name;
  }
}

}  // namespace
}  // namespace tenon
