r"""What hashing asks of a character: its lower case, and whether it is of a word or white space.

As Python 3.11 has it, whose tables are of Unicode 14: ``str.lower``, and ``\w`` and ``\s`` of ``re``,
which scikit-learn asks. Those of other versions differ in newer characters, and a score must not
depend on who reckons it. A test compares every code point.
"""

from __future__ import annotations

import base64
import functools
import zlib

import numpy as np

from transforms.kernels.arrays import U32

WORD, SPACE, CASED, IGNORED = (1 << bit for bit in range(21, 25))
r"""Bits of a character: ``\w``; ``\s``; what makes a capital sigma behind it a final one; what such a
sigma looks over."""
LOWER = (1 << 21) - 1
"""Bits of its lower case."""

# runs of characters that are equal in all of it: their lengths (uint32), how far their lower cases are
# (int32), their classes (uint8); of each the lowest bytes first, then the next ones
_RUNS = (
    "c-rk-TZmjq89x7CRp(SycTacEt!H{BJ)N1!WG<PV$$f*Doe+}{vg{6`f<a|P6m)~K;Oc`QYhLo84?YNj3JS_T_@oamtgd)r"
    "#YIu0O9n6Cx<T|okrjl^g4q6l)#>Te(>>Q@lF4j+)m`UQovOe7Tm63>X4<G86+;YQA+8Dls9LB(LN~}?Om75KAQ=J;+k<d5"
    "uIWYC0YqyycI(cP#?^+9>(Rq4^lTeRH$vxOq*vy96hHi2Ycb+nq89+63}#|o?W*P+QK~O)nTtCF!fs;<NwOI|-?XV7kz}o0"
    "Y;&ZQI@keA`uPy`Lri`siwH#;S{uRl=AdWJpyX+T5)A23^$rV}Q$ys*80#501E-vKXdaYUL<=-qXha-j{RpReNg6MZB@pu%"
    "dw<7R`XS5`FN@R`0uo}4=m^Lm@`8SdVk!z8D@B@Y4R58@W&8jFEtH^gD_J5#Ju%Ug!mTNYzR1Urr||=Y0uk44zm*(u8kX=x"
    "<_)b*oK)_)O{vFpExP9xu;AI7K`$LmC*k`XSG{70bOo4@G~{(fTVA9F?S2jRFgiaQ0uBU30omtbv?%LP!MNXBEY>h7duSZ0"
    "984NGGe?rgymBrk8%aTYCPEgdCuT|laEi&|94&u|bjjRHoT2Z*)mD*=CGi{z(=SS;<rrge70Xanmqjk=6}Auay_jdUVEzOd"
    "Qv>EmDI|!EZCTlP0!}6h$7!Jpc8o1cMi6$IcswGjaqdus&3Ll8FHpx8fu<Hfj~$h;;Pw~ssD&+?JVK4QA?-cPmLax#CN-H;"
    "TQL`-N#<w|3MjBU#Lh+3kw*$JerO5yBFyfupvhjS3GUkL*1E@aYOUBi*k=Xr5;6`qd4rIv2=@#jr!>1RJKX|Vg0=_7bcqYc"
    "50=T$ymy6)vyqcGoK%XOpj0AzfLeKLwOSqgRPE~GVrTS17eIC&&gnUzo2K7CoKV!Mm;~BOeF1K;V8ccV#a<@ggB*~qa3q_9"
    "4+v@Ni>11)X(-n1;o{Pdmj>X|=cZ%KgBb1KCR>s<x*^}Vj6D^D-Sh1Zq1R0)JEN>xw?jT>Cct5UcDDi%+Y>#<N@#7|8w-9o"
    "rLmIhIY4f=035>0<WEFm2xek-LF0m~jY|+ac8&qZW*1L~$Psfsq|+So>e$(D4kVdXE>Ez>vQx(2%2(u3`EmT%RFYSU182c;"
    "$pfyIOHcML;i>7oB>&8p#;LEW;5u`iJ#6JH%;T7F%b<v1K*&6uzxrH0=^6h_em;Muj8DO}1L9~AM&zWasVSvuI7!i6%}!50"
    "MvP3#Nja@g<a6X~oOIIbxzlFQ>Y*5B!JOyxc7!7uR&Wfbv{|Gz)InLj@UZO11?pFneFYpqIx?Bc7}V<;Mro6kPT4^mQPoPa"
    "eChP@!trEQYCAPXL@9ASHmwJ9l8!gCqx}`~vXjMJjk6}Hci!!F=X^Mv*jP*|PBg4mJwX+@+oGT(E+sPzvOm`g!-6v+ZKJa;"
    "HINuKS)gb^K_0V7)v34$c_kB}K7W!P@g7n{T+|jxi+r%+9k1=P3qq3USdlosNaI{k&)KQD=5|f&sSy%Hf|7ZeJby%xkw09o"
    "_vL9U#WRGVT+?y$_JYR4ES5V|j)I+zU25k8ig>8Nq<b$V1`c^6L-7C^Y7pI7;u6<W-ZvBGEav=CkI}gwanXlAfa1X1S3dHI"
    "@{5mtu($x`=NF$plZ=rMK2F~nrL)Dv$UL1NU_kYKr(Umo^fEE>c3D_r4o7b5m09z5=`=JkFUnGXK|ZMp!X%coD&O}IR_el("
    "FsaEeiLdrw9lri<xX5Zk7AWuX<5|)i9aTs+$*wFCcoz=CFpRDFYCIO5md7;oz@UQSvW5Ov6DT`T)y;X4BuK_MTZ8fuY5$gh"
    "J0HQ%D1pw5k5kiD-ol&r(RnETRKf^vHQsF?{dq<<0|mB4a&EDF(haasrqhjr@;eF>)tJgt>NOkxrG6&)GhXXCI##=N`8lXP"
    "@yu(bC?FspVAla#ABsU+0owwmwcLlhfd&sp@ARTUF!i3n99IY7u2}f~``8|#{ANmX-KGhyY{a|0hzD^SDYC+I#<SGGWFGhK"
    "EU&^=7?2yz?e<jM_1MqXB$CfY{7N$z9mu2V`={&wUvSERfPjF2fPjF2fPj4gyUy!iKtMo1KtMo1KtMpiK0$rshx{1sL%HrR"
    "zvJrH5d8|G$A9rly8b45`L__gd^1|{1O7-KfB6G9{{-%@WeDkK^Wp}5{iUt)_1P|ca}d3Mnyzm<f3ek>g>U=5Pe##HbSPSi"
    "9&y^$>#p=7&v=7YT&{0{ubo<{cyG-bEruPp|M7$?TgMH(r^Q*K(iN~L%h_FD;dbOd{_1XgiCWj^UiUisw!7Z`8dqO@!*xA#"
    "?e(oI|C{tZ`+cfLGo7VoG_AUNky@rYoO1V9@#-xfY<_Z2LRwnwGPcRorgL_~hds6bws-t~{WV_r?)QH5LiDede|%%@lN&#L"
    "DWleG{@lNZt*v4@Q%BL^wCra13kTuA;~il<oQb-iac@^^+zDT^)IEFGd2XatBRE6AgN0F7wvI3FZE^lX<pIL2dl8)7Cyh>x"
    ")e^O?&5-J^jci||(b%3eue`GPxRrmeq<1%0Zr)7q!dAQwc)GoLW&M#?7+iP!r+(wg(?O8|0RiD1XD__tWL`+ZJ5E5rzKcbT"
    "2aDbP^p4ZmVt8&5ZM4=7zI*@uud$)c$W-0jVOuT|5D*X$-f_Y^PC!6Fc*hCvI04}uCm<kT{{pFK{w;`(RHQ+xv`3}A+^Hg<"
    "w&KqN1#q7|z=qMy!fmc2qgcgCE2r7bRJ$F`NBV&<4#{mI?cK~5{$K0Wdjp!<?i-QbBJG}1hfaG9Pv@&EJj{>hp}y@Kk)IP8"
    "X#c@eI@HZ-c6IzFs+~DUsT&pFnO5rzXbnkM?XpyQZOv_8z3tL{`4*>Zq|+TzrSdpsWs7$D_1ayXy2e7#Y^Mx1jnh(+?}}7f"
    "jN0r!_&s&!7j)D70iAAs{D`JLOjebq#Wb|rt4Tw*nKEV0G~-^oZ0!>2mSs#TO8VHTm>4!(w0hGbN`q6BDVd1nu0GDGwDti?"
    "rvr6_sj5+<yC+Tac6A0)Ym27{&9)EmY&$8v|8#}9N2+i#rs>i-vgx+j*?%!|Zp)r*T%W7Wy8FX84|J;8X7+LWWup;B`xtvS"
    "Rbe_8Ni*`!b-U_mL>!EQ<|b?pRI4!vbT(!<Z5wDd)1;8<K1yl%C}Mn<X^SFC^EQtZbjBBN>UKNpbyA4V9JV<75d)?(2Xv2("
    "x`Vd&{4`{C>=i%8xUxy~)vdIX$v?1`8!u=ZQ)!A`jn7S+bO@f!jCwVzw6C{O^zKNiYXf#uLzxiYrg3P`rR^d|*)xDrYZ7xd"
    "fwtzQPL`fEvTS$IUbAYqk-DqR+uAx~NY5iH!Wmd^Xl>n5y7|j?N;^%C$64Ciw6gaaKcfI??)ncQr7L<Jx&IFY(w$u"
)


@functools.cache
def characters() -> U32:
    """Return uint32[0x110000]: of each code point its lower case, and bits. Not to be changed.

    One has two characters as its lower case, U+0130: it stands for itself here.
    """
    data = np.frombuffer(zlib.decompress(base64.b85decode(_RUNS)), np.uint8)
    columns = data.reshape(9, -1)
    lengths, distances = (
        np.ascontiguousarray(part.T).view(dtype)[:, 0].astype(np.int64)
        for part, dtype in ((columns[:4], "<u4"), (columns[4:8], "<i4"))
    )
    classes = columns[8].astype(np.int64) << 21
    made = np.arange(0x110000) + np.repeat(distances, lengths)
    table: U32 = (made | np.repeat(classes, lengths)).astype(np.uint32)
    table.flags.writeable = False
    return table
