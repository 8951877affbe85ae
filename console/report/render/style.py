"""The style sheet of the report page, for screens (light and dark) and for paper."""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--soft:#5b6675;--rule:#dfe3e8;--band:#f6f7f9;
--good:#0b7a4b;--unsure:#8a5a00;--bad:#b3261e;--c0:#2166ac;--c1:#c8580a;--c2:#12805c;--c3:#a23b72;--c4:#6553c0;--c5:#7a6a00}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14181e;--ink:#e4e8ee;--soft:#9aa5b3;--rule:#2e3641;
--band:#1b2028;--good:#5ccf9b;--unsure:#e2b04a;--bad:#ff8a80;--c0:#6db3f2;--c1:#f4a259;--c2:#5ccfa6;--c3:#e58fbd;
--c4:#b0a4f5;--c5:#d9c04c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1088px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:24px;line-height:1.25;margin:0 0 14px}
h2{font-size:19px;margin:40px 0 10px;padding-bottom:4px;border-bottom:1px solid var(--rule)}
p{margin:10px 0}
a{color:var(--c0)}
.lead,.note{color:var(--soft)}.note{font-size:13.5px}.note b{color:var(--ink);font-weight:600}
.answer{border-left:5px solid currentColor;background:var(--band);padding:14px 20px;margin:0 0 14px}
.answer p{margin:0;color:var(--ink)}.answer p.sentence{font-size:20px;line-height:1.35;font-weight:600;
margin-bottom:8px}
.answer .number{font-size:30px;font-weight:700;margin-right:6px;white-space:nowrap}
.answer span.good{color:var(--good)}.answer span.unsure{color:var(--unsure)}.answer span.bad{color:var(--bad)}
nav{margin:14px 0 0;font-size:13px}nav a{margin-right:14px;white-space:nowrap}
ul{padding-left:20px}li{margin:4px 0}
.wide{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:1px solid var(--rule);padding:5px 10px 5px 0;
vertical-align:bottom}
td{border-bottom:1px solid var(--rule);padding:5px 10px 5px 0;vertical-align:top}
th:last-child,td:last-child{padding-right:0}
tr:target,tr:has(:target){background:var(--band)}
th.figure,td.figure{text-align:right;white-space:nowrap;padding-right:18px}.short,.run{white-space:nowrap}
.dense{font-size:12px}.dense th,.dense td{padding-right:7px}
.dense .figure{padding-right:10px}.dense td.run{font-size:11px}
.dense.wrapped td.run{white-space:normal}
.good{color:var(--good)}.unsure{color:var(--unsure)}.bad{color:var(--bad)}
td.good,td.unsure,td.bad{font-weight:600}
figure{margin:18px 0}figcaption{font-weight:600;margin-bottom:6px}
dl{margin:12px 0;font-size:13px}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
dl div{display:grid;grid-template-columns:200px 1fr;gap:14px;margin:4px 0;break-inside:avoid}
dl.facts{columns:2;column-gap:28px}dl.facts div{grid-template-columns:130px 1fr;margin:0 0 4px}
dl.facts .long{column-span:all}
code{font:12.5px/1.5 ui-monospace,"SF Mono",Consolas,monospace;background:var(--band);padding:2px 6px;border-radius:3px;
overflow-wrap:anywhere}code span{white-space:nowrap}
.chart{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
.chart text{fill:var(--ink);paint-order:stroke;stroke:var(--paper);stroke-width:3px}.chart .tick{fill:var(--soft)}
.grid{stroke:var(--rule);stroke-width:1}.whisker{stroke:var(--ink);stroke-width:1.3}.span{stroke:var(--soft);stroke-width:2}
.c0{fill:var(--c0);stroke:var(--c0)}.c1{fill:var(--c1);stroke:var(--c1)}.c2{fill:var(--c2);stroke:var(--c2)}
.c3{fill:var(--c3);stroke:var(--c3)}.c4{fill:var(--c4);stroke:var(--c4)}.c5{fill:var(--c5);stroke:var(--c5)}
.line{fill:none;stroke-width:2}.front{fill:none;stroke:var(--c1);stroke-width:1.3;stroke-dasharray:4 4}
.neutral{fill:var(--soft);stroke:var(--soft)}.hollow{fill:var(--paper);stroke-width:1.8}
@media (max-width:700px){dl.facts{columns:1}
dl div,dl.facts div{grid-template-columns:1fr;gap:0}code span{white-space:normal}}
@page{size:A4;margin:10mm}
@media print{
body{font-size:8pt;line-height:1.32;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}nav{display:none}a{color:inherit;text-decoration:none}
h1{font-size:12.5pt;margin-bottom:6px}h2{font-size:10.5pt;margin:9px 0 3px;padding-bottom:2px;break-after:avoid}
p{margin:3px 0}ul{margin:3px 0;padding-left:14px;font-size:7.2pt}li{margin:1px 0}.note{font-size:6.9pt}
.answer{padding:7px 12px;margin-bottom:6px}.answer p.sentence{font-size:11.5pt;margin-bottom:2px}
.answer .number{font-size:16pt}
.wide{overflow:visible;margin:5px 0}table{font-size:6.8pt}th,td{padding:1.2px 5px 1.2px 0}td.run{font-size:6pt}
th.figure,td.figure,.dense .figure{padding-right:6px}.dense{font-size:6.8pt}.dense td.run{font-size:6pt}
.dense th,.dense td{padding-right:5px}
dl{margin:5px 0;font-size:7.2pt}dl div,dl.facts div{gap:8px;margin:1px 0}dl div{grid-template-columns:150px 1fr}
dl.facts div{grid-template-columns:90px 1fr}code{font-size:6.2pt;padding:0 3px;overflow-wrap:anywhere}
figure{margin:3px 4% 3px 0}figcaption{margin-bottom:1px}
figure,tr,dt,dd,li,p,.answer{break-inside:avoid}thead{display:table-header-group}
}
"""
