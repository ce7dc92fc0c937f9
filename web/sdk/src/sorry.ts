/**
 * What a cardholder reads where no frame of ours can tell them: words of the frame (`unavailable`,
 * `offline` and `retry` in frame/src/words/), which have to be there when nothing else comes.
 */
const SORRY: Record<string, string> = {
  ar: "يتعذّر عرض بطاقتك الآن|أنت غير متصل بالإنترنت|إعادة المحاولة",
  de: "Ihre Karte kann gerade nicht angezeigt werden|Sie sind offline|Erneut versuchen",
  en: "Your card cannot be shown right now|You are offline|Try again",
  es: "Ahora mismo no se puede mostrar su tarjeta|Está sin conexión|Reintentar",
  fr: "Votre carte ne peut pas être affichée pour le moment|Vous êtes hors ligne|Réessayer",
  ja: "現在カードを表示できません|オフラインです|再試行",
  pt: "Não é possível mostrar o seu cartão agora|Está sem ligação|Tentar de novo",
  zh: "暂时无法显示您的卡片|您已离线|重试",
};

export interface Sorry {
  lang: string;
  unreachable: string;
  offline: string;
  retry: string;
}

/** In the language of a locale such as `de-CH`, or in English. */
export function sorryIn(locale: string): Sorry {
  const asked = languageOf(locale);
  const lang = Object.hasOwn(SORRY, asked) ? asked : "en";
  const [unreachable, offline, retry] = SORRY[lang]?.split("|") as [string, string, string];
  return { lang, unreachable, offline, retry };
}

export const languageOf = (locale: string) => locale.split("-", 1)[0]?.toLowerCase() ?? "";
