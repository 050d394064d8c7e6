#include "html.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace tenon::rl {
namespace {

// Series s0 to s7 are told apart by colour (those of Okabe and Ito, which the colour-blind distinguish, the light ones
// darkened until they stand out from white) and by dashes, which a black-and-white printer keeps.
constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--back:#fff;--text:#1c1e21;--dim:#5c6168;--rule:#d5d8dc;--box:#f5f6f8;--link:#0b5cad;
--ok:#00734f;--weak:#8a5a00;--no:#b3261e;--mark:#ffe08a;
--c0:#0072b2;--c1:#d55e00;--c2:#00865f;--c3:#b0558f;--c4:#8f6b00;--c5:#3a8fc4;--c6:#5b5b5b;--c7:#7a3db8}
@media(prefers-color-scheme:dark){:root{--back:#15171a;--text:#e3e5e8;--dim:#a3a9b1;--rule:#3a3f45;--box:#1e2125;
--link:#7db8f0;--ok:#4fd1a1;--weak:#f0b95a;--no:#ff8a80;--mark:#6b5300;
--c0:#56b4e9;--c1:#ff8c42;--c2:#35c99a;--c3:#e29cc9;--c4:#f0cf4a;--c5:#9ad4ff;--c6:#c0c0c0;--c7:#c79bf2}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1180px;padding:1em 1em 4em;background:var(--back);
color:var(--text);overflow-wrap:break-word}
h1{font-size:1.7em;line-height:1.2;margin:.6em 0 .3em}h2{font-size:1.25em;margin:2em 0 .5em}
h3{font-size:1em;margin:1.4em 0 .4em}
a{color:var(--link)}.dim,figcaption small,.note{color:var(--dim)}.note{font-size:.9em;max-width:75ch}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:1.4em 1.6em}
figure{margin:0;min-width:0}figcaption{font-weight:600;font-size:.93em}figcaption small{font-weight:400;display:block}
svg{display:block;width:100%;height:auto}svg text{font-size:12px;fill:var(--dim)}svg text.strong{fill:var(--text)}
.end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:var(--rule);stroke-width:1}
.s0{--c:var(--c0)}.s1{--c:var(--c1)}.s2{--c:var(--c2)}.s3{--c:var(--c3)}.s4{--c:var(--c4)}.s5{--c:var(--c5)}
.s6{--c:var(--c6)}.s7{--c:var(--c7)}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.s1.line{stroke-dasharray:7 3}.s2.line{stroke-dasharray:2 2.5}.s3.line{stroke-dasharray:9 3 2 3}
.s4.line{stroke-dasharray:12 4}.s5.line{stroke-dasharray:4 2}.s6.line{stroke-dasharray:1.5 4}
.s7.line{stroke-dasharray:9 2 2 2 2 2}
.link{fill:none;stroke:var(--c);stroke-width:2}.data{stroke-width:1.3;stroke-dasharray:3 3}
.raw{fill:none;stroke:var(--c);stroke-width:1;opacity:.28}.band{fill:var(--c);opacity:.18;stroke:none}
.dot{fill:var(--c);stroke:none}.ring{fill:none;stroke:var(--c);stroke-width:1.2}
.bar{stroke:var(--c);stroke-width:1.6}.thin{stroke-width:1.2}
.legend{display:flex;flex-wrap:wrap;gap:.1em 1.1em;list-style:none;margin:.2em 0 0;padding:0;font-size:.85em}
.legend svg{display:inline-block;width:30px;height:9px;vertical-align:middle;margin-right:.35em}
.scroll{overflow-x:auto;margin:.6em 0}
table{border-collapse:collapse;font-size:.9em}td,th{border-top:1px solid var(--rule);padding:.25em .7em .25em 0;
text-align:left;vertical-align:top;font-variant-numeric:tabular-nums}th{font-weight:600}tbody th{font-weight:400}
thead th{border-top:0;white-space:nowrap}.number td{white-space:nowrap}.of_seed *{color:var(--dim);border-top:0}
.of_seed th{padding-left:1em}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3em 0;font:12.5px/1.45 ui-monospace,monospace}
.findings{list-style:none;padding:0;margin:.6em 0}
.findings>li{border-left:5px solid var(--c);background:var(--box);padding:.5em .8em;margin:.5em 0}
.ok{--c:var(--ok)}.weak{--c:var(--weak)}.no{--c:var(--no)}.verdict{color:var(--c);font-weight:700;white-space:nowrap}
.findings p{margin:.15em 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,250px),1fr));gap:.7em}
.card{background:var(--box);border-top:3px solid var(--c);padding:.4em .7em;min-width:0}.card p{margin:0;font-size:.85em}
mark{background:var(--mark);color:inherit}
details{margin:.4em 0}summary{cursor:pointer}
@media(max-width:600px){body{padding:.5em .8em 3em;font-size:16px}.plots,.cards{grid-template-columns:minmax(0,1fr)}
h1{font-size:1.4em}}
@media print{:root{color-scheme:light;--back:#fff;--text:#000;--dim:#444;--rule:#bbb;--box:#fff;--link:#000;
--ok:#00734f;--weak:#8a5a00;--no:#b3261e;--mark:#ffe08a;
--c0:#0072b2;--c1:#d55e00;--c2:#00865f;--c3:#b0558f;--c4:#8f6b00;--c5:#3a8fc4;--c6:#5b5b5b;--c7:#7a3db8}
body{font-size:10pt;max-width:none;padding:0;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.plots{grid-template-columns:1fr 1fr}.cards{grid-template-columns:1fr 1fr}.scroll{overflow:visible}
.card{border:1px solid var(--rule)}figure,.card,.findings>li,table,svg{break-inside:avoid}
h2,h3,summary,h3+pre{break-after:avoid}}
)";

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
          out += "\xEF\xBF\xBD";
        else
          out += c;
    }
  }
  return out;
}

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style></head>\n<body>\n<h1>{0}"
      "</h1>\n{2}</body></html>\n",
      html_escape(title), kStyle, body);
}

std::string html_table(const std::vector<std::string>& head, const std::vector<HtmlRow>& rows) {
  std::string out = "<div class=\"scroll\"><table class=\"number\"><thead><tr>";
  for (const std::string& cell : head) out += "<th scope=\"col\">" + cell + "</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const HtmlRow& row : rows) {
    out += row.style.empty() ? "<tr>" : "<tr class=\"" + row.style + "\">";
    for (size_t c = 0; c < row.cells.size(); ++c)
      out += c == 0 ? "<th scope=\"row\">" + row.cells[c] + "</th>" : "<td>" + row.cells[c] + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string html_details(std::string_view summary, std::string_view body) {
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n", summary, body);
}

std::string number_text(double value) { return fmt::format("{:.4g}", value); }

std::string short_number(double value) {
  if (std::isnan(value)) return "–";
  for (const auto& [scale, unit] : {std::pair{1e9, " G"}, {1e6, " M"}})
    if (std::abs(value) >= scale) return fmt::format("{:.3g}{}", value / scale, unit);
  return std::abs(value) >= 1000 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

}  // namespace tenon::rl
