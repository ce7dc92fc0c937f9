//! A page of words, for people who come to a frame's address by mistake. It may be framed by
//! nobody.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header;

use crate::http::static_file::integrity;

/// What stands on such a page.
pub(super) struct Notice {
    lang: &'static str,
    title: &'static str,
    text: &'static str,
}

impl Notice {
    const fn english(title: &'static str, text: &'static str) -> Self {
        let lang = "en";
        Self { lang, title, text }
    }

    /// For a cardholder who opened a frame by itself: in the language that was asked for, or in
    /// English.
    pub(super) fn of_opened_frame(language: Option<&str>) -> &'static Self {
        let spoken = |notice: &&Self| Some(notice.lang) == language;
        OPENED.iter().find(spoken).unwrap_or(&OPENED[0])
    }

    pub(super) fn answer(&self, status: StatusCode) -> Response {
        let Self { lang, title, text } = self;
        let dir = direction(lang);
        let page = format!(
            "<!doctype html>\n<html lang=\"{lang}\"{dir}>\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n</body>\n</html>\n"
        );
        let policy = format!(
            "default-src 'none'; style-src '{}'; frame-ancestors 'none'",
            integrity(STYLE.as_bytes())
        );
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
            (header::CONTENT_SECURITY_POLICY, policy),
        ];
        (status, headers, page).into_response()
    }
}

/// The attribute of a document in a language that is written from right to left.
pub(super) fn direction(language: &str) -> &'static str {
    if language == "ar" { " dir=\"rtl\"" } else { "" }
}

pub(super) static OPENED_IN_A_PAGE: Notice = Notice::english(
    "Open your card in your card programme's app",
    "This page shows a card inside an app and cannot be put into another page.",
);
pub(super) static OF_PAGES: Notice = Notice::english(
    "This embed is for web pages",
    "An app needs an embed of its own, which is registered without origins.",
);
pub(super) static UNKNOWN: Notice = Notice::english(
    "There is no such embed",
    "Check the embed id that the page gives to Cardveil.",
);

/// In the languages of the frame (`web/frame/src/words/`).
static OPENED: [Notice; 8] = [
    Notice::english(
        "Open your card in your card programme's app or website",
        "This page shows a card inside another page and cannot be opened by itself.",
    ),
    Notice {
        lang: "ar",
        title: "افتح بطاقتك من تطبيق برنامج بطاقتك أو من موقعه",
        text: "تعرض هذه الصفحة بطاقةً داخل صفحة أخرى، ولا يمكن فتحها بمفردها.",
    },
    Notice {
        lang: "de",
        title: "Öffnen Sie Ihre Karte in der App oder auf der Website Ihres Kartenanbieters",
        text: "Diese Seite zeigt eine Karte in einer anderen Seite und lässt sich nicht für sich \
               öffnen.",
    },
    Notice {
        lang: "es",
        title: "Abra su tarjeta en la aplicación o en el sitio web de su programa de tarjetas",
        text: "Esta página muestra una tarjeta dentro de otra página y no se puede abrir por sí \
               sola.",
    },
    Notice {
        lang: "fr",
        title: "Ouvrez votre carte dans l’application ou sur le site de votre programme de carte",
        text: "Cette page affiche une carte dans une autre page et ne peut pas être ouverte seule.",
    },
    Notice {
        lang: "ja",
        title: "カード会社のアプリまたはウェブサイトでカードを開いてください",
        text: "このページはほかのページの中にカードを表示するもので、単独では開けません。",
    },
    Notice {
        lang: "pt",
        title: "Abra o seu cartão na aplicação ou no site do seu programa de cartões",
        text: "Esta página mostra um cartão dentro de outra página e não pode ser aberta sozinha.",
    },
    Notice {
        lang: "zh",
        title: "请在您的发卡方的应用或网站中打开卡片",
        text: "此页面在其他页面中显示卡片，无法单独打开。",
    },
];

/// A card's blank back, and the words under it, in the middle of the window.
const STYLE: &str = "\
    body{display:grid;min-height:100vh;min-height:100svh;margin:0;place-items:center;\
    font:1rem/1.5 system-ui,sans-serif}\
    main{box-sizing:border-box;max-width:27rem;padding:2rem 1.5rem}\
    main::before{content:\"\";display:block;width:76px;height:14px;margin-bottom:1.5rem;\
    padding-top:34px;border-radius:8px;\
    background:linear-gradient(#0000 9px,#fff6 9px 18px,#0000 18px),\
    linear-gradient(150deg,#2b3a4f,#16202e)}\
    h1{margin:0 0 .5rem;font-size:1.375rem;font-weight:650;line-height:1.3;text-wrap:balance}\
    p{margin:0;opacity:.8}";
