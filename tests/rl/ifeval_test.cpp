// IFEval's 25 kinds of instructions: for each, responses that follow it and that do not, by the rules of the authors'
// program read by hand.
#include "../../rl/rewards/ifeval.h"

#include <gtest/gtest.h>

#include <set>

#include "../../rl/datasets.h"
#include "../../rl/rewards/ifeval_language.h"
#include "../../rl/rewards/ifeval_text.h"
#include "../expect_error.h"

namespace tenon::rl {
namespace {

struct Case {
  const char *kind, *kwargs, *response;
  bool follows;
};

const Case kCases[] = {
    {"keywords:existence", R"({"keywords": ["Sea", "boat"]})", "The SEA and a sailboat.", true},
    {"keywords:existence", R"({"keywords": ["sea", "boat"]})", "The sea.", false},
    {"keywords:frequency", R"({"keyword": "sea", "frequency": 3, "relation": "at least"})", "Sea, sea, seaside", true},
    {"keywords:frequency", R"({"keyword": "sea", "frequency": 2, "relation": "less than"})", "Sea, sea", false},
    {"keywords:forbidden_words", R"({"forbidden_words": ["sea"]})", "The seaside.", true},
    {"keywords:forbidden_words", R"({"forbidden_words": ["sea"]})", "The Sea!", false},
    {"keywords:letter_frequency", R"({"letter": "E", "let_frequency": 3, "let_relation": "at least"})", "Every tree",
     true},
    {"keywords:letter_frequency", R"({"letter": "e", "let_frequency": 4, "let_relation": "less than"})", "Every tree",
     false},
    {"keywords:letter_frequency", R"({"letter": "#", "let_frequency": 2, "let_relation": "at least"})", "# a #", true},
    {"language:response_language", R"({"language": "de"})", "Das ist nicht schwer, aber wir haben keine Zeit.", true},
    {"language:response_language", R"({"language": "de"})", "This is not hard, but we have no time.", false},
    {"length_constraints:number_sentences", R"({"num_sentences": 3, "relation": "at least"})", "One. Two! Three?",
     true},
    {"length_constraints:number_sentences", R"({"num_sentences": 2, "relation": "less than"})", "Dr. Lee paid 3.50.",
     true},
    {"length_constraints:number_sentences", R"({"num_sentences": 2, "relation": "less than"})", "One. Two.", false},
    {"length_constraints:number_paragraphs", R"({"num_paragraphs": 2})", "One\n\nstill\n***\nTwo\n***\n", true},
    {"length_constraints:number_paragraphs", R"({"num_paragraphs": 2})", "One\n***\n\n***\nTwo", false},
    {"length_constraints:number_words", R"({"num_words": 4, "relation": "at least"})", "don't count this", true},
    {"length_constraints:number_words", R"({"num_words": 3, "relation": "less than"})", "one two three", false},
    {"length_constraints:nth_paragraph_first_word",
     R"({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"})", "First this.\n\n\"Then, that.", true},
    {"length_constraints:nth_paragraph_first_word",
     R"({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"})", "First this.\n\nthenceforth that.", false},
    {"length_constraints:nth_paragraph_first_word", R"({"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "a"})",
     "a\n\nb\n\nc", false},
    {"detectable_content:number_placeholders", R"({"num_placeholders": 2})", "Dear [name], at [place]", true},
    {"detectable_content:number_placeholders", R"({"num_placeholders": 2})", "Dear [name], at [pla\nce]", false},
    {"detectable_content:postscript", R"({"postscript_marker": "P.S."})", "Bye.\np. s. more", true},
    {"detectable_content:postscript", R"({"postscript_marker": "P.P.S"})", "Bye.\nP.S. more", false},
    {"detectable_content:postscript", R"({"postscript_marker": "P.P.S"})", "Bye.\nP.P.S more", true},
    {"detectable_format:number_bullet_lists", R"({"num_bullets": 3})", "* one\n  * two\n- three\n**bold** four", true},
    {"detectable_format:number_bullet_lists", R"({"num_bullets": 1})", "* one\n* two", false},
    {"detectable_format:constrained_response", "{}", "Hm. My answer is maybe. Or so.", true},
    {"detectable_format:constrained_response", "{}", "My answer is yes!", false},
    {"detectable_format:number_highlighted_sections", R"({"num_highlights": 3})", "*a* **b** and *c d*", true},
    {"detectable_format:number_highlighted_sections", R"({"num_highlights": 2})", "*a* * * ** **", false},
    {"detectable_format:multiple_sections", R"({"section_spliter": "Section", "num_sections": 2})",
     "Section 1\na\nSection 2\nb", true},
    {"detectable_format:multiple_sections", R"({"section_spliter": "SECTION", "num_sections": 2})",
     "SECTION 1\na\nSECTION B\nb", false},
    {"detectable_format:json_format", "{}", "```json\n{\"a\": [1, 2]}\n```", true},
    {"detectable_format:json_format", "{}", "Here: {\"a\": 1}", false},
    {"detectable_format:title", "{}", "<<The sea>>\nIt is wide.", true},
    {"detectable_format:title", "{}", "<< >>\n<<a\nb>>", false},
    {"combination:two_responses", "{}", "One way.\n******\nAnother.", true},
    {"combination:two_responses", "{}", "The same ****** The same", false},
    {"combination:two_responses", "{}", "One ****** two ****** three", false},
    {"combination:repeat_prompt", R"({"prompt_to_repeat": "What is it? "})", " what is it? It is a boat.", true},
    {"combination:repeat_prompt", R"({"prompt_to_repeat": "What is it?"})", "Sure. What is it?", false},
    {"startend:end_checker", R"({"end_phrase": "Is that all?"})", "Yes. \"is that all?\"\n", true},
    {"startend:end_checker", R"({"end_phrase": "Is that all?"})", "Is that all? Yes.", false},
    {"startend:quotation", "{}", " \"All of it.\" ", true},
    {"startend:quotation", "{}", "\"Some\" of it.", false},
    {"change_case:capital_word_frequency", R"({"capital_frequency": 3, "capital_relation": "at least"})",
     "THE end, I SAID.", true},
    {"change_case:capital_word_frequency", R"({"capital_frequency": 2, "capital_relation": "less than"})",
     "WELL-KNOWN facts", true},
    {"change_case:capital_word_frequency", R"({"capital_frequency": 2, "capital_relation": "less than"})", "DON'T",
     false},  // DO and N'T
    {"change_case:english_capital", "{}", "THIS IS THE END OF IT, 7 TIMES.", true},
    {"change_case:english_capital", "{}", "THIS IS THE End.", false},
    {"change_case:english_capital", "{}", "DAS IST NICHT DAS ENDE, ABER WIR SIND DA.", false},
    {"change_case:english_lowercase", "{}", "this is the end of it.", true},
    {"change_case:english_lowercase", "{}", "This is the end of it.", false},
    {"punctuation:no_comma", "{}", "No pause; none.", true},
    {"punctuation:no_comma", "{}", "Well, a pause.", false},
};

Row row_of(const std::string& kinds, const std::string& kwargs) {
  return make_row("q", {{"instruction_id_list", kinds}, {"kwargs", kwargs}});
}

TEST(IfEval, EveryKindFollowedAndNot) {
  std::set<std::pair<std::string, bool>> seen;
  for (const Case& c : kCases) {
    const Row row = row_of("[\"" + std::string(c.kind) + "\"]", "[" + std::string(c.kwargs) + "]");
    EXPECT_EQ(rewards::ifeval()({.row = row, .completion = c.response}) == 1, c.follows)
        << c.kind << ": " << c.response;
    const std::string thought = "<think>, x</think>" + std::string(c.response);
    EXPECT_EQ(rewards::ifeval()({.row = row, .completion = thought}) == 1, c.follows) << c.kind << ", with thinking";
    EXPECT_EQ(rewards::ifeval()({.row = row, .completion = " \n"}), 0) << c.kind << ", empty";
    seen.emplace(c.kind, c.follows);
  }
  EXPECT_EQ(rewards::instruction_kinds().size(), 25u);
  for (const std::string& kind : rewards::instruction_kinds())
    for (const bool follows : {true, false}) EXPECT_TRUE(seen.contains({kind, follows})) << kind << ' ' << follows;
}

TEST(IfEval, SharesOfInstructions) {
  // One of two followed, and all of four.
  const Row two = row_of(R"(["punctuation:no_comma", "startend:quotation"])", "[{}, null]");
  const Row four = row_of(R"(["punctuation:no_comma", "punctuation:no_comma", "punctuation:no_comma",
                             "keywords:existence"])",
                          R"([{}, {}, {"num_words": null}, {"keywords": ["end"]}])");
  const std::vector<Sample> samples{{.row = two, .completion = "the end"}, {.row = four, .completion = "the end"}};
  EXPECT_EQ(rewards::ifeval()(samples[0]), 0);
  EXPECT_EQ(rewards::ifeval_share()(samples[0]), 0.5f);
  EXPECT_EQ(rewards::ifeval()(samples[1]), 1);
  const auto values = rewards::ifeval_instructions()(samples);
  EXPECT_FLOAT_EQ((values[0] + values[1]) / 2, 5.0f / 6) << "five of the six";
}

TEST(IfEval, MistakesInARowNameIt) {
  const auto run = [](const char* kinds, const char* kwargs) {
    const Row row = row_of(kinds, kwargs);
    return rewards::ifeval()({.row = row, .completion = "text"});
  };
  EXPECT_ERROR(run(R"(["length_constraints:words"])", "[{}]"), "row: instruction_id_list", "length_constraints:words");
  EXPECT_ERROR(run(R"(["length_constraints:number_words"])", R"([{"num_words": 3, "relation": null}])"), "relation");
  EXPECT_ERROR(run(R"(["length_constraints:number_words"])", R"([{"num_words": 3, "relation": "about"}])"), "about");
  EXPECT_ERROR(run(R"(["keywords:existence"])", R"([{"keywords": "sea"}])"), "list of strings");
  EXPECT_ERROR(run(R"(["punctuation:no_comma"])", "[]"), "kwargs");
  EXPECT_ERROR(run(R"(["punctuation:no_comma"])", "[{}, {}]"), "2");
}

TEST(IfEval, Sentences) {
  const std::pair<const char*, int64_t> cases[] = {
      {"One. Two. Three.", 3},
      {"Mr. Lee and Mrs. Lee met. They spoke!", 2},
      {"It costs 3.50 dollars, e.g. in Rome. Really?", 2},
      {"J. R. R. Tolkien wrote it.", 1},
      {"He said \"Stop!\" Then he left.", 2},
      {"1. First this. 2. Then that.", 4},  // as the Punkt tokenizer has it
      {"Apples, pears, etc. are fruit.", 1},
      {"no end", 1},
      {"What?! No...", 2},
      {"", 0}};
  for (const auto& [text, count] : cases) EXPECT_EQ(rewards::count_sentences(text), count) << text;
}

// Sentences from the Universal Declaration of Human Rights, article 1, in the languages that IFEval asks for.
TEST(IfEval, Languages) {
  const std::pair<const char*, const char*> texts[] = {
      {"en",
       "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience "
       "and should act towards one another in a spirit of brotherhood."},
      {"es",
       "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
       "conciencia, deben comportarse fraternalmente los unos con los otros."},
      {"pt",
       "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, "
       "devem agir uns para com os outros em espírito de fraternidade."},
      {"fr",
       "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
       "conscience et doivent agir les uns envers les autres dans un esprit de fraternité."},
      {"de",
       "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und "
       "sollen einander im Geist der Brüderlichkeit begegnen."},
      {"it",
       "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di "
       "coscienza e devono agire gli uni verso gli altri in spirito di fratellanza."},
      {"pl",
       "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i "
       "sumieniem i powinni postępować wobec innych w duchu braterstwa."},
      {"fi",
       "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki ja "
       "omatunto, ja heidän on toimittava toisiaan kohtaan veljeyden hengessä."},
      {"sw",
       "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa. Wote wamejaliwa akili na dhamiri, hivyo yapasa "
       "watendeane kindugu."},
      {"vi",
       "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền. Mọi con người đều được tạo hóa ban "
       "cho lý trí và lương tâm."},
      {"ru",
       "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны "
       "поступать в отношении друг друга в духе братства."},
      {"uk",
       "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом і совістю і повинні "
       "діяти у відношенні один до одного в дусі братерства."},
      {"bg",
       "Всички хора се раждат свободни и равни по достойнство и права. Те са надарени с разум и съвест и следва да се "
       "отнасят помежду си в дух на братство."},
      {"ar",
       "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح "
       "الإخاء."},
      {"fa",
       "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند. همه دارای عقل و وجدان هستند "
       "و "
       "باید "
       "نسبت به یکدیگر با روح برادری رفتار کنند."},
      {"ur",
       "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔ انہیں ضمیر اور عقل ودیعت ہوئی ہے۔ اس لئے "
       "انہیں ایک دوسرے کے ساتھ بھائی چارے کا سلوک کرنا چاہیئے۔"},
      {"hi",
       "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है।"},
      {"mr",
       "सर्व मानवी व्यक्ति जन्मतः स्वतंत्र आहेत व त्यांना समान प्रतिष्ठा व समान अधिकार आहेत. त्यांना विचारशक्ती व सदसद्विवेकबुद्धी लाभलेली "
       "आहे."},
      {"ne",
       "सबै व्यक्तिहरू जन्मजात स्वतन्त्र हुन् ती सबैको समान अधिकार र महत्व छ। निजहरूमा विचार शक्ति र सद्विचार भएकोले निजहरूले आपसमा "
       "भातृत्वको भावनाले व्यवहार गर्नु पर्छ।"},
      {"bn", "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।"},
      {"ta", "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்."},
      {"te", "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు."},
      {"kn", "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಜನಿಸಿದ್ದಾರೆ."},
      {"gu", "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે."},
      {"pa", "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ, ਸ਼ਾਨ ਅਤੇ ਹੱਕਾਂ ਦੇ ਪੱਖੋਂ ਜਨਮ ਤੋਂ ਹੀ ਆਜ਼ਾਦ ਹੈ।"},
      {"ml", "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും സ്വാതന്ത്ര്യത്തോടുംകൂടി ജനിച്ചിട്ടുള്ളവരാണ്."},
      {"ja", "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"},
      {"ko", "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."},
      {"he", "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם."},
      {"th", "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"}};
  for (const auto& [language, text] : texts) EXPECT_EQ(rewards::detect_language(text), language) << text;
  EXPECT_EQ(rewards::detect_language("12 + 7"), "");
  EXPECT_EQ(rewards::detect_language("I do not know what I do on Sundays, so I do it in the sea."), "en");
}

}  // namespace
}  // namespace tenon::rl
