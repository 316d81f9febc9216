r"""To which of the classes that pre-tokenizers ask for each character belongs.

As the regular expressions of tokenizers 0.23.3 and tiktoken 0.14.0 have them, whose tables are of
Unicode 16; Python's own depend on its version. A test compares every code point with both packages; the
check at load notices another version of theirs.
"""

from __future__ import annotations

import base64
import functools
import zlib

import numpy as np

from transforms.kernels.arrays import U8

LETTER, NUMBER, SPACE, UPPER, LOWER, WORD, COMPOSED = (np.uint8(1 << bit) for bit in range(7))
r"""``\p{L}``, ``\p{N}``, ``\s``, ``[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]``,
``[\p{Ll}\p{Lm}\p{Lo}\p{M}]``, ``\w``; and whether a text of such characters alone is its own NFC, of
Unicode 14: what is newer isn't asked."""

# runs of characters of equal classes: their lengths, uint32, then their classes, uint8
_RUNS = (
    "c-rk-O>A996`uR|ey;s&Cr+HiNnF=;(>h6$xJ{G$1S(gLw167XB0*7Dpl~TjrU-aah3<t7>H;>fVu2_-gt}(i9YXwU*$"
    "^Rw5JEz1Ss@mvaL&w`_dcJ_eYP7yoHm*_zW2`Wne#tq#(iT<M)@e^i1H%koN|})D&<tlBl*tZou7Sqa{CzCCh(5mC!qa"
    "FdGD#V@3$P^=l+Ln?Ma|KR&{Bh9Q(!lm@jS_U$@tMn+E2I4*?&v!5muG`#E<NT@V-PKKef|&(os!xX(Q01<{3F)&2<Om"
    "*jo@0CY|iT(k6J40CzC`WVzD{|6dpd+^&cl&>5zUdSGB{dg~QM*IQN1&2AG16p(_Z-Fd%S$?X8c1XjX=&BU-$Q<P*d9n"
    ";#pnP2XGt@O-4Cu{{(wn}0u59c=U`=ZR3%9u?^ZT~k|54FhAsf!m6)5j3UFc<bQNB+Fd<DPWlYm!0b|zz<hx)TJ-!(PP"
    "qJk}zxq5(`82sHOfK#_w0sOZ45fQ)}s~jmmI1TtN2v4l&sQD*>xzau0+>d{esd2P@>jrF77huJ@9KJREHGFZ4j_;{{T4"
    "okoaMo2kvtN3~Gi*&8J+W^Z@Nbc~{5W}FY_$974Bt6XenKKXO{)4PEx79_Irg%UN$$1m<CYXWUDYlL_-skQe?y#fTjVL"
    "40Y~0KqqM~*OImbd)FS`B&f`?`?v|Rj(=uPA=z;QsbM{-tIV$fbl?+9|<B3{(7LZNkxmd05isIb_#_9&(_hURB;7vdGN"
    "mZT)=7^Opk7oGKIrLozUWj2``3xPGD&3Us^Et2dd#7dGOs%DJz<JtYB3cgoxC6oeg+QA~+2dULb-<@clx%ikjRUarh=0"
    "G<a{+qC0t>?Z1@Td~DW9SIU4^r53of_R_oMsl=WYB@m46gy&+>Cj-j@J3uLShMS7Y~n1Y%%*oEJgA_5`M*AX_}ovf}YR"
    "w3!z?Yu(J{SH<trJdi5-=D_<Mp_#V59r4?`per{N{a%o^j|6lc>VgF3T?1a{c`r)4Rb|@}neT+MTb!R&GJ6bca}-!#SJ"
    "~hNuu0nj%Vky9lR0ytV;^`sk#+O~HsB)opRtU?>)RB%`u-W%Pe0El&>Qi50dUX**dpMCF5tV<;_qYv-$$U|hUkOx;Xdq"
    "Pz6ZJg5C?~b4n5F;9nephL-l)&-Mh=PnGhU3*jGe>{b8iy{j=g(x{V$yw0COr!Q*|dr!O%D^zr<Db2+dViIh$AG{CwHb"
    "bccK&7ypxt(}Lt+V(ba%h_8N@KtB+`P0B0v08Vke2^uGS?j+1{^Q8K|65`^bK(zvSp0;mviJUG?CkKz6W9MoGKTl_cVv"
    "%pWsftZsO4NBR(?bBP>&p{cz0*Uz6aw`(H{GcLhTI}V4v6z#2F6yTo?b6-!F;J<<G@$iM-yCG98PFA;#H<HD`f%P6YcA"
    "t>-=mV`i}D`n;08T;SalSeC%Q_x^hi^x3+UKOx^GRs7<V^Cy4sikttsz<x>Q8AQAHQL*^&4?0gK0X=>{<RXT>nU|9u@N"
    ";~Z>-(VQ-d&!d#rFxv*&gS%`_1V-&Y%vGj|cp)P;58_eVi#@rvve|tMcw+0Z)sLiB$aF#|4f;>|C!Ym)KJVI`#y__2%H"
    "*$j3S^tJvS5B@Tu@9r|@!Vte{6XAT(4JfUK7PX~OQxaBP3B(#}RwnWE(V)YE!!wW#CzOpATi?7!U@Q$D3XBQmKPDme)$"
    ")r7J^cJG<IYvH1_whPz$op5s?stVQSwIf@ieA|seBPJy(j&rOuSJfRN@;UV*?w=+F>bg7G&rgDAj`^c_V9c!a5g#X4&I"
    "#j7fA~(@f@hD&f_wOE8;!A<(4zF1@UXX4KkC;xwVg<J}YHM6u%AN{W6?&zX9^K4RPAj5YJB`Hj6qs6S{kPV_b9-^n`EA"
    "XTeWO{-om1O^D&8(xxZ+W=`pY#g;R{S@nsG#kjs6x%I5b{5|0h@AsVt9(+D<wtF$KUykAYD*|7@$HX6zvcBw<merX=Ch"
    "(xHTm`-?#fQeTUw__rDG;m9X4sYl^lGf)$X@sO=UG_0=aY4y>lx5P8T7pdJih|*hh;d!JPI+@d3k4D_6hN4pAo)&M(R3"
    ">uXGH01@_kwoMZnH{Oj`peG`MOxGv+L1^w5Papqv1D{x;e6*)LAa2^9cFcFztP%-3V>f9|3oWnl_zGOFWR(A??iRYV56"
    "&pvpi0kgDJ8cobdj<4#+Ol5{*@pzq3g+M*^C{&M>)82oE$2ok%Q^JD40bw$^{4OQ4nY(+D-PWu(6DEqzwwODpSk2MKIy"
    "rZxNRujqh)v??am5M4FWz~2Ds6*S%WxDKXB(JbO(mVdJFun4y-o@f5M+#T>+XQY;!=Tf#`t?iccdY&&Nc+oL1*Xsq)hp"
    "mbXPO4`94kMOUrEIsUvl$HMq)tj@=?mU|Ixdy2ly^8(EAgu2%d>U$b^{K>$c0_|uI@OcSvjrX<&qC<ZR@yi^1%Sg_ndV"
    "#wg8Tic0;6JS?Sz3@ev`n3w;qNCc{N7XN;8?#Nkkd49x9M8s;7t{OM#}HpP_jAzS^W&?oZ}*AzTcbF;mh>=I^c<E@GHt"
    "Ub9bH|OZ&^|Zd>a4+SB1Di?092sKeW<4!1|8?l;tM7*Bl$y{~ym?H$$v`<*Lbhw(mPuIPPS`Z3;q9!>p73kS%Km+>#j*"
    "*fC?I@q)U_~((jC+Ow(Und;B@1)ba1PtfjH{N}(#gFq?H0ATNfqRi&KE6){DGl}-&^7@&<Sln%ZY~Kv<7xcN+wa#UCjL"
    ")|!TIy?F8JXcI8X8Xw+49Wi0{ETAAu}<OZ414JU=UQpOXE^D&#KQJz9l5Llm%AvAS#03&a<?K%-T-M}am$>xtEXEM`g<"
    "V%vk{GvM1q@a)`!GQ=D2?fJ#~e^0}@(RW)^XH74sQ@J_@I_&p=gCoj^i<J-Y9NeS%2JGj$pvQ7WJB|Ub!T1-!E_(QW7d"
    "d?T@;jg}ysr3LwEG^J-golz*Kpp}l^Dtf=u))Fo@b8G0zMS*Pj15AlgIxh%zJu|{~O9@{9j3DAOCZb>@og9VvBLhJ-iS"
    "MInXInw%V6p^*S<|((+Yx&bX-P^0<sW5MSQk@4@G$>>Ir;y9oRFF6d=$|0d->Bn~dWAM!f%b%Es;#Cgz1_uqxG=YAi*2"
    "KtEi{-2Jf|K}3}UNYeQKIr>7I5*8<{2tu#;`ToTyX5iHA;A9fma}EUr76GsS>}FY#lf+C)~)4hRQOXGY>l3OrAc30c5~"
    "mRzMuM2KDm2;oAP%k|AX=Mjxq22$BpNo<qb+zxl`UQ$M(IUuW?y5ws2=$j&}}uYV7Ym%{^{PpNhKRq9Gy8G-I=4${l0V"
    "*yfq3-0y@m%g*@lCt7wxTtuE$QA#om6&ZSKii$E}j0$b87<-1xs8QXR%GR2~me|tLxIc!=X-w``H+4b3x+&^mQxmr~H8"
    "+?fYE&Ca1-+V~p*A#dIbuQ?XgRb$!)4r<{tO#xUeWNS(IZM5`k=u|W50uQ@^9!`H6v3u=H0273|5$GR8AXBrYT$j4PqG"
    "Xy4(dyfvva=p~#IfT{+`z#Ff;27pTQ#`pVS25E_ptK!cW5iD1?i#R4$5W*QVF4d}>PH$z6^BylTFr9fEhN=$yHqkJ|@v"
    "}vL)RV_j@E=jcPfU{Fkj+m{egJB`O!AmCP#Zz#$G~#x(os^sKB1WdH%erz4EE;LSC@{9OP1T5bvSzf{wHFl=f+pY(W;^"
    "Ow@q!$VDlV}&q%jOL^>}NW*J5R$cC5^OSZR!#;z1DOd!`&FPczYx<84gFw;k_n?UdW4d!bibwPomOYmBcT(xo@70lQ7<"
    "1`%@97-IVovvcX#(y&D<Md8}C#n~1$Z0W4MD@WDNm?hGsQF(h*`mdn%x%bJ=OB};`V9ZN)%Crc{L*oH24H@&QthlIRxv"
    "-UuXc4Okc@SQlOHR4kCL{z0G=wBvH2mx)O~vBhl>b``tiH?lKou5Li&yutWg2VRSvRm9D9p&B$_hG5cVUrKSFB;2=5z{"
    "yTCs{?WndLg?UXmS^|s8a8>`Ig0_bM-9dR>Ncs0vJ8aBHU*%StISPYwzKO|W~+V=FUS>Lb>SQc=l69;cP;j|jdNaa;iZ"
    "g&6{q+v&_(5#7Rc(KG#gfLQnR)lR=kz+HKG;CGbB$!q<?Z>ELEo&j+*OA!1x|rCh5m&Mx8>_sXJacRQm3A1Obz~L$#&C"
    "<R{kAP;au6IvGh(C29l3;SYHJ!s6_eLkPok_X43#zEg|UW-+q<@e)q)L%byO_i_In5vv{sF+X^TU^Yhgp;oDr7_BZ&xV"
    "t9jjQfJ<J!7)_=uW1dH`K903x%vQ!i#;fKf70$}rm9hSsLgBpuw`yngtal(RS~wne^^HT?#<Z0)gl6LF)Mi4X+H<P+wC"
    "I!hkJn>Yx4{c%b`pRso`$xC<&a^q;cTsI;b>-osDwcnl%27qI!jaSq(^)sa1Vx(fzNog8x~lv5GT&4WABo7KqJdTVrs^"
    "oi+4mHU>Q^@b5>g05%@DEMye%QKuD{YZ8M>}v1B(6an{Kt=a>Luv=9zAU^SzHKq?#>t-9vFrn&1>?n)!8Ic}Hc?ouV5w"
    "NS><hASK?{tHW82oV"
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
