import type { Words } from "./en.ts";

export const de: Words = {
  labels: {
    card: "Ihre Karte",
    number: "Kartennummer",
    numberEnding: "Kartennummer endet auf {digits}",
    expiry: "Ablauf",
    cvv: "CVV",
    name: "Karteninhaber",
    copyField: "{field} kopieren",
    copied: "Kopiert",
    copyFailed: "Nicht kopiert. Bitte kopieren Sie die Ziffern von Hand.",
    showField: "{field} anzeigen",
    hideField: "{field} verbergen",
    showShort: "Anzeigen",
    show: "Kartendaten anzeigen",
    hide: "Verbergen",
    retry: "Erneut versuchen",
    retryIn: "Noch {seconds} s warten",
    hidesIn: "Noch {seconds} s sichtbar",
    loading: "Kartendaten werden geladen",
    shown: "Kartendaten sichtbar",
    hidden: "Kartendaten verborgen",
    hiddenByTime: "Zum Schutz Ihrer Karte verborgen.",
    hiddenByLeaving: "Verborgen, während Sie weg waren.",
    fieldGone: "{field} ist nicht mehr verfügbar. Öffnen Sie Ihre Karte erneut.",
    fieldAbsent: "{field}: auf dieser Karte nicht vorhanden.",
    covered:
      "Etwas auf dieser Seite verdeckt Ihre Karte. Sie erscheint, sobald nichts mehr darüber liegt.",
    reference: "Referenz: {id}",
  },
  errors: {
    token_refused: [
      "Dieser Zugang zu Ihrer Karte gilt nicht mehr",
      "Er ist abgelaufen oder wurde schon benutzt. Gehen Sie zurück und öffnen Sie Ihre Karte erneut.",
    ],
    field_unavailable: [
      "Diese Angaben sind nicht verfügbar",
      "Ihre Karte hat sie nicht, oder diese Seite darf sie nicht zeigen. Bitte melden Sie es dem Support dieser Seite.",
    ],
    origin_refused: [
      "Diese Seite darf Ihre Karte nicht anzeigen",
      "Sie ist dafür nicht registriert. Bitte melden Sie es dem Support dieser Seite.",
    ],
    rate_limited: ["Zu viele Versuche", "Versuchen Sie es gleich noch einmal."],
    unavailable: [
      "Ihre Karte kann gerade nicht angezeigt werden",
      "Mit Ihrer Karte ist alles in Ordnung. Versuchen Sie es gleich noch einmal.",
    ],
    offline: [
      "Sie sind offline",
      "Prüfen Sie Ihre Internetverbindung und versuchen Sie es erneut.",
    ],
    timeout: [
      "Das dauert zu lange",
      "Prüfen Sie Ihre Internetverbindung und versuchen Sie es erneut.",
    ],
    unsupported: [
      "Dieser Browser kann Ihre Karte nicht anzeigen",
      "Aktualisieren Sie ihn oder öffnen Sie die Seite in einem anderen Browser.",
    ],
    invalid_request: [
      "Diese Seite ist nicht richtig eingerichtet",
      "Ihre Anfrage war für uns nicht verständlich. Bitte melden Sie es dem Support dieser Seite.",
    ],
    header_mismatch: [
      "Zur Sicherheit zeigen wir Ihre Karte nicht an",
      "Die Antwort passte nicht zur Anfrage. Öffnen Sie Ihre Karte erneut. Passiert es wieder, melden Sie es dem Support dieser Seite.",
    ],
    token_failed: [
      "Ihre Karte konnte nicht geöffnet werden",
      "Diese Seite hat keinen Zugang erhalten. Gehen Sie zurück und öffnen Sie Ihre Karte erneut.",
    ],
    internal: ["Etwas ist schiefgegangen", "Gehen Sie zurück und öffnen Sie Ihre Karte erneut."],
  },
};
