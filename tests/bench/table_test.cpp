#include "../../bench/table.h"

#include <gtest/gtest.h>

#include "../../bench/aims.h"
#include "../../runtime/error.h"

namespace tenon::bench {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(BenchTable, PutsMeasurementsBesideTheirAims) {
  const std::string page = markdown_of(
      R"J({"what":"limits","peer":"tenon","read_gbs":0,"update_gbs":4012,"copy_gbs":4100,"f32_gflops":51230,"bf16_gflops":781000,"device":"NVIDIA H200 (9.0)","peak_gflops":989000}
{"what":"rms_norm fwd","peer":"tenon","dtype":"bf16","shape":"16384x4096","median_ms":0.07654321,"gflops":3500,"gbs":3507,"share":0.8554,"limit":"memory","aim":"85 % of memory","met":true}
{"what":"attention fwd","peer":"tenon","dtype":"bf16","shape":"4x4096","median_ms":1.5,"gflops":320000,"gbs":200,"share":0.41,"limit":"products","aim":"350 TFLOP/s","met":false}

{"what":"train step","peer":"tenon","dtype":"bf16","shape":"dense-0.5b: 494.0M params, 8 x 2048","median_ms":160,"gflops":450000,"tokens_s":102400,"share":0.58,"limit":"products","mfu":0.455,"parts_ms":{"forward and loss":50.25,"backward":90},"aim":"45 % MFU","met":true}
{"what":"train step","peer":"torch 2.9","dtype":"bf16","shape":"dense-0.5b","median_ms":200,"tokens_s":81920}
{"what":"stage","name":"op table","result":"passed","seconds":12.3}
{"what":"sample","peer":"tenon","error":"the budget was spent"}
{"what":"top_k","peer":"tenon","error":"the budget was spent"}
)J",
      "here");
  EXPECT_TRUE(has(page,
                  "Device: NVIDIA H200 (9.0). Memory: update 4012 GB/s, copy 4100 GB/s. Products: f32 51230 "
                  "GFLOP/s, bf16 781000 GFLOP/s of the vendor's 989000.\n"));
  EXPECT_TRUE(has(page, "2 of 3 aims are met.\n"));
  EXPECT_TRUE(has(page, "| op | dtype | shape | ms | rate | limit | share | aim | met |\n|---|"));
  EXPECT_TRUE(
      has(page, "| rms_norm fwd | bf16 | 16384x4096 | 0.07654 | 3507 GB/s | memory | 86 % | 85 % of memory | yes |\n"));
  EXPECT_TRUE(
      has(page, "| attention fwd | bf16 | 4x4096 | 1.5 | 320 TFLOP/s | products | 41 % | 350 TFLOP/s | no |\n"));
  EXPECT_TRUE(has(page, "| 102400 tokens/s, 450 TFLOP/s | products | 58 %, 45.5 % MFU | 45 % MFU | yes |\n"));
  EXPECT_TRUE(has(page,
                  "## Parts\n\n| work | shape | milliseconds |\n|---|---|---|\n| train step | dense-0.5b: 494.0M "
                  "params, 8 x 2048 | forward and loss 50.25, backward 90 |\n"));
  EXPECT_TRUE(has(page, "## Peers on the same machine"));
  EXPECT_TRUE(has(page, "| train step | torch 2.9 | bf16 | dense-0.5b | 200 | 81920 tokens/s |\n"));
  EXPECT_TRUE(has(page, "| op table | passed | 12.3 |\n"));
  EXPECT_TRUE(has(page, "## Not measured\n\n| work | why |\n|---|---|\n| sample, top_k | the budget was spent |\n"));
}

TEST(BenchTable, LeavesOutWhatThereIsNot) {
  EXPECT_EQ(markdown_of("", "here"), "");
  const std::string page =
      markdown_of(R"J({"what":"add fwd","dtype":"f32","shape":"1 | 2","median_ms":12345.6,"gflops":0.25})J", "here");
  EXPECT_TRUE(has(page, "| add fwd | f32 | 1   2 | 12346 | 0.25 GFLOP/s |  |  |  |  |\n"));
  EXPECT_FALSE(has(page, "##"));
  EXPECT_FALSE(has(page, "aims"));
}

TEST(BenchTable, NamesALineThatIsNotJson) {
  try {
    markdown_of("{}\n\n{\"what\": ", "a.jsonl");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a.jsonl: line 3 is not a JSON object");
  }
}

TEST(BenchAims, AreFoundByNameAndShape) {
  EXPECT_EQ(text(*aim_of("rms_norm_residual bwd", "16384x4096")), "85 % of memory");
  EXPECT_EQ(text(*aim_of("attention bwd", "4x4096x32x8x128x128x1x0")), "250 TFLOP/s");
  EXPECT_EQ(text(*aim_of("experts: grouped product, dw", "")), "60 % of products");
  EXPECT_EQ(text(*aim_of("train step", "moe-fine: 1900.0M params")), "20 % MFU");
  EXPECT_EQ(text(*aim_of("decode (greedy)", "dense-0.5b, batch 1, prompt 128")), "70 % of memory");
  EXPECT_FALSE(aim_of("decode (greedy)", "dense-0.5b, batch 64, prompt 128"));
  EXPECT_FALSE(aim_of("paged_attention fwd", ""));
  EXPECT_FALSE(aim_of("embedding fwd", ""));
}

}  // namespace
}  // namespace tenon::bench
