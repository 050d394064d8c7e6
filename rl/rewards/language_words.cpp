#include "language_words.h"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace tenon::rl::rewards {
namespace {

// Function words, and those of working a problem out: what any reasoning of a few sentences holds.
constexpr std::array<std::string_view, kWordLanguages> kWords = {
    "the of and to in is that it was for on are as with his they at be this from have or by one had not but what all "
    "were "
    "we when your can said there use an each which she do how their if will up other about out many then them these so "
    "some her would make like him into time has look two more go see no way could people my than first been who its "
    "now "
    "find long down day did get come made may let wait need because therefore since given answer equals total number "
    "step check should after before left each how much also where",
    "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat "
    "dass "
    "sie nach wird bei einer um am sind noch wie einem über einen so zum haben nur oder aber vor zur bis mehr durch "
    "man "
    "dann da sein wenn wir ich kann also weil was zwei drei hier nun jetzt müssen muss gibt sehr schon wurde ergibt "
    "lösung antwort zuerst zusammen insgesamt daher deshalb jede jeder beträgt",
    "le de un être et à il avoir ne je son que se qui ce dans en du elle au pour pas cela sur faire plus dire me on "
    "mon "
    "lui nous comme mais pouvoir avec tout y aller voir bien où sans tu ou leur homme si deux moi vouloir te les des "
    "est "
    "une la sont donc par nombre cette ces aux alors car chaque trois réponse total fait c'est soit",
    "el la de que y a en un ser se no haber por con su para como estar tener le lo todo pero más hacer o poder decir "
    "este "
    "ir otro ese si me ya ver porque dar cuando él muy sin vez mucho saber qué sobre mi alguno mismo yo también hasta "
    "los "
    "las una es son del al entonces cada dos tres respuesta número total primero hay tiene está",
    "il di che e la in un a per è una sono mi ho ma l'ha non si con le da lo ti ci se come io questo hai qui bene sei "
    "del "
    "no tu lei nel solo cosa dei al anche gli più alla della poi quindi allora ogni due tre numero risposta totale "
    "prima "
    "perché delle quanto abbiamo",
    "o de a e que do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua ou "
    "ser "
    "quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem mesmo aos ter seus quem nas "
    "me "
    "esse eles então cada dois três número resposta total são temos portanto",
    "de het een en van ik te dat die in je is niet zijn op aan met als voor had er maar om hem dan zou of wat mijn men "
    "dit zo door over ze zich bij ook tot uit der daar haar naar heb hoe heeft hebben deze want nog zal me zij nu geen "
    "omdat iets worden toch al waren veel meer doen moet dus elke twee drie antwoord aantal totaal eerst wij"};

std::unordered_map<std::string, unsigned> table() {
  std::unordered_map<std::string, unsigned> out;
  for (size_t l = 0; l < kWordLanguages; ++l) {
    for (std::string_view rest = kWords[l]; !rest.empty();) {
      const size_t end = std::min(rest.find(' '), rest.size());
      if (end > 0) out[std::string(rest.substr(0, end))] |= 1u << l;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return out;
}

}  // namespace

unsigned languages_of_word(std::string_view word) {
  static const std::unordered_map<std::string, unsigned> words = table();
  const auto found = words.find(std::string(word));
  return found == words.end() ? 0 : found->second;
}

}  // namespace tenon::rl::rewards
