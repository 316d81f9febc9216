r"""To which of the classes that pre-tokenizers ask for each character belongs.

As the regular expressions of tokenizers 0.23.3 and tiktoken 0.14.0 have them, whose tables are of Unicode
16; Python's own depend on its version. A test compares every code point with both packages; the check at
load notices another version of theirs.
"""

from __future__ import annotations

import base64
import functools
import zlib

import numpy as np

from transforms.kernels.arrays import U8

LETTER, NUMBER, SPACE, UPPER, LOWER, WORD = (np.uint8(1 << bit) for bit in range(6))
r"""``\p{L}``, ``\p{N}``, ``\s``, ``[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]``,
``[\p{Ll}\p{Lm}\p{Lo}\p{M}]``, ``\w``."""

# runs of characters of equal classes: their lengths, uint32, then their classes, uint8
_RUNS = (
    "c-rk+O^h5z74EM7o9Wrv|J~W2>}K3{9MAf1+xVv&P;e9yWF-RUfF(E}5F!%93gMDVZn@+VZk*tTP|jR)LkPl^3qBx$5E"
    "A0bkyDiVd9VAM=jxeV$BEaD)mz&=)m5+F|9kbS`#}&Sx~=LK>b9g?u3M(tj&3pahx9v#XLIk<-HcZ-HiBpTJ%aID^xP9"
    ";pR}eP@%)oUd*ta?;$7_N$9d`q>!}X-a=g^r*t3p00eaAdvyZMPxn)8w$cy+0^IxX>F8Mt(XF<0`@`afgzoOgQ$B-||B"
    "Ap>41@PIIo`!eP7a-SUj*fjrx5E=C|EICy$%qe6QacN>Fm^wo+~#73yijgE@<%bXJ>3RmpXYVkpxg^%(~mtqF%>?M$LA"
    "t`F2me?THCz)9<3XaKQ!}Bk#F+FWpm$z{=V>aoLg=~Y-PH(fLA@5djS1r-Rl5r6==<Y&KzipfS(H5rpI^4SdV;E;Da$o"
    "jXk-F68NMY`Ar1$#xrp9<sM4->{#F!0gPDClZ*8S@GRxkg-hbmSDc5swIq0$!#b&$H&0Go>-*%Cd1M-S^n~%qg^W_c%X"
    "mhv8VTM<ltaXXtAwKj{fl6eLz>g;*efl2Xb%Pa%tLc1c*H#DdF&vZv3@>723>fh9XRAduFNy3hZ7j%TPFlQhamf-=-et"
    "jZwVV<yfU#?D&*e-{o(b7kS8$=&Lw-m$LBrz#5vfO=to}l;W_EZhjQ@IW00W&eDfLci}jT8Jwtu#V(kIEXS`~PQ|o|B3"
    "cfD(_zJYwA?X6r&iI`5@Ji8osKd9yX*#kF`X=J{so-eymVj35e+hg+pLh_F-I{g>WMKO5D))N@YAJ@USHW+vjjn=ytkJ"
    "sx^(*4pQ0O=JUnM<=JbNPrGRg^;Nbo<Ud>{kcFN7>!p|Q^jdtLy2+ZVcXfyV3zKl~i&E62BM@NN(62Js$(O&T0Zntz#S"
    ">JeQ`W1nz~2(KaV;sW{Q1=8(xnxBJQa(btP-{3q=f$W)|8^HV2lMf`c_BVi@g7|UsX<q%beGaYvlm{n94n4@1Qi#FWeD"
    "CMM=DCX<Fu5fixkV&mN+R-W1+kssBpq`G;KLKKPgoQA&a#M8Da>KtKcw2!DTt$SM=jZR7Lj=Jy0D{;7<=F=K}#&=EJH0"
    "1=ibwkzD}|4D(!dPQ7#tUja?3TIHy+Lg(vPY)R(L#{5aJ0(vGtb>62&WycOi9OOWIDq5nbeW6GP%^IyaJ_paNtPAc|;c"
    "xH2_qki&z(ANZV_aA^y$q9!;vY#>Jk3FDy40|c_`=);Jhi#WD{ql~>$1m}|ENt^J-XE<$=DHLMfBC5NSwa4<C|~V=hI;"
    "gu-Cy-SV{KnOA|5Am&XSI+*Wp7td)*N9Msw;(xcB7uywAK!`$B`u721F2kdLgw{$Ap5#ykVH&Jol*_Q3yLrd(}N<T{x9"
    "<nVh!WBVQTRGvQ)wU;ZN{6cx^dt8&^F$0g!&po+m+7XY=1HZ90cbjshp71RU`*-IZuSPW2?D1or_`ManaX+JYnGsJDp^"
    "NM%haGw<_3SR?m2ZYlt~cqOIg2<4HI8Ly%n#<*7}j~8a@<+p)eNZC5_RyCd43w|Wc&@zn!um)>P4y}yi0Q~()}8(ze3}"
    "FLG#`NeJmlr*oB&63^gwFSqaI2dCxVUGq6A4aR<al)4nZa&Exrgj^?uc4MgrE&k1I|j{we%(9y98HSsOTZ4MwOd)afQb"
    "HP)`QBZH~!E;8nDL&&m6f$F;Z9=_thhl3b_FH@waLH5iOT<1T61B5PoYRd&U2P9^m*w>g<aP<If1P-?3AC=k8OAEX&d9"
    "cJ8Gh4#jrVPtkathi^-_W#341kte}{VGf#*zy?ePYjrRJcoo1`bP_y**FVn#;#Jp$i)jdW^2?{d%CT%X`vq;VPeoozUa"
    "<2Z3f_<Fg2?TPO}Lcr&c=Eg$i%99sz4SxV<sM}-*seu1NNBtXZiv8GS@V7bW?s3ocLUGn3_Yd;yEP*(L=LlS1&O36Vvm"
    "Ny>-}gf@MsS^Yk91)bY$6vnw@>m}_neuUu^$reGN>buz|ISrzaq|TbE4rq#4^;Wb+Xr8IIoDsxsVzE5&19k{wHMbV>mN"
    "g0QrTY-lQNeNQDjf@;5#Qcm-fS548Kf<=F*2I|pMhj`V;pmqfjNm3+=$D2^`ykNR-dAYt*iH4(!$;mr1yM~BbO$o(>p{"
    "8NwJjXk!I2pL}w9d5B_pM~cJXb(fMhwlQN8>C0S)&t+r_n(u#{Ykgi^n@SLxWl-u$ECod-z+)!-_l5YwBvZiIq}DOV6E"
    "D?hq>%`#BX^vbV&I3#W@o4a)ZVjUi?0E{+7>XJ_da@HuY0FS3}*r0pCdsA-_W%96%2B|B;j3z1Zd4W}W{QEljBor^D7)"
    "?g<~Z2zva1?ua#^Z-T5M$er<<o!6I%XR57j82a{ATVqY3rpvaqPwV}P#=J{@Vu9{=DHgm>IS024Y-tB_O&Rl)$NqaBUy"
    "uP`8J_Amcg`TcRWtl@B*q@6abB|x@sM@=VfP{5%-+j9aBgx1=w5^z2W#ZF<JJb&!GHV>=wA{3REb#m0-STd9ke!+fiK2"
    "5_G0LChhblUSaL6P{A+%L9kXr!C!F@%a(`m(e}?#%(SEi79~QzIBaQ6WJp1<7;QKlQ_m8mN?woJJ^BLa^r$_jnIGO|hI"
    "Q1H|pRD8DLE^n4&RY`b|E6;O<TRYK<Nb}C{D}tsuMeHS{OYoM|4+i_y-lZ+<(}j1Te|bNedlxjtrvTB&8_)EJ@58E^5B"
    "0a4u7Hy!m$?OL<24DbFF`sK~dYzNg0%r6Moh9?-8wC)&XCY?Jz8>OT#*MmA1{if}^hHmN@B`rn=S|R5h1nPEc2cZu(hw"
    "*;ZJ#nP<~o*mriEyUajhteZmJMf(C?>;G=0%BZfgkfw*#0;9ss^FSgnLFfB+gbJ!Uxc}lodJK%1n(hFoX=3hQprYvwk#"
    "(hN3$~s@j^`D`L7LuPRbBDOg71o_5d<b*%cc>7yNZhR*(kS<;%Vv)c6Mw~$ClTYoK~j%;8>v7ECh;HitZ{DO|-)b#<aG"
    "inunsHR?l(zHwjve35=1J^<!Z=pPNB8_tq^no?YK{Ki?+JJ+{|aUvZ$UO*y5T0KE3H&M+ul$Ou$1DYf8KFgE|ZKKqNHT"
    "mRE?*BDs($izJQTAR41m8&9MoiZ&&|M_a(6m@XSXko2u_K4ad@o;05_#Hfu1e{>`ry;{w6**;R^3FYz!z$R^tv9j`h1~"
    "%ACUh}D9iY#zZ45EK#&NBf>Mw)3>he96RaxsfD68r6Q!213N-oLicTq!p(Ev&Z#sO(`9rURKbWJ8>pWC}?+_=NlEvg*x"
    "N=!8iS!b_x(s;DG3|hBe)yf6~i!C!>6_%A8*@}PzX5EOwE?YEu?Yut52^T`VQIXv+j^+qbQS2rKs2u+sA|%&>-WMEwEC"
    "A~$rU8P61XZIm1Pi3Y1B$75-(bW_LoBCgN-2mlcExa5Po3&E@QXHB6^-c|wNOo7!Yj;=iUnjK?s5*LamJ7}25fANdqqz"
    ">?b}<=J@u~?3tIm?l>|AJU`DzGt)TGVs<IJL<><f91wQbltd)+ZbCiZtp8_4jJQM"
)


@functools.cache
def classes() -> U8:
    """Return uint8[0x110000]: each code point's classes, one bit each. Not to be changed."""
    data = zlib.decompress(base64.b85decode(_RUNS))
    count = len(data) // 5
    table = np.repeat(
        np.frombuffer(data, np.uint8, count, 4 * count),
        np.frombuffer(data, "<u4", count).astype(np.int64),
    )
    table.flags.writeable = False
    return table
