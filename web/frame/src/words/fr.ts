import type { Words } from "./en.ts";

export const fr: Words = {
  labels: {
    card: "Votre carte",
    number: "Numéro de carte",
    numberEnding: "Numéro de carte se terminant par {digits}",
    expiry: "Expiration",
    cvv: "CVV",
    name: "Titulaire",
    copyField: "Copier : {field}",
    copied: "Copié",
    copyFailed: "La copie a échoué. Copiez les chiffres à la main.",
    showField: "Afficher : {field}",
    hideField: "Masquer : {field}",
    showShort: "Afficher",
    show: "Afficher les données",
    hide: "Masquer",
    retry: "Réessayer",
    retryIn: "Réessayer dans {seconds} s",
    hidesIn: "Masqué dans {seconds} s",
    loading: "Chargement des données de la carte",
    shown: "Données de la carte affichées",
    hidden: "Données de la carte masquées",
    hiddenByTime: "Masquées pour protéger votre carte.",
    hiddenByLeaving: "Masquées pendant votre absence.",
    fieldGone: "{field} : ne peut plus être affiché. Ouvrez de nouveau votre carte pour le voir.",
    fieldAbsent: "{field} : non disponible sur cette carte.",
    covered:
      "Un élément de cette page recouvre votre carte. Elle s’affichera dès que rien ne la couvrira.",
    reference: "Référence : {id}",
  },
  errors: {
    token_refused: [
      "Cet accès à votre carte n’est plus valable",
      "Il a expiré ou a déjà servi. Revenez en arrière et ouvrez de nouveau votre carte.",
    ],
    field_unavailable: [
      "Ces informations ne sont pas disponibles",
      "Votre carte ne les comporte pas, ou cette page ne peut pas les afficher. Veuillez prévenir l’assistance de ce site.",
    ],
    origin_refused: [
      "Cette page n’est pas autorisée à afficher votre carte",
      "Elle n’est pas enregistrée pour cela. Merci de prévenir l’assistance de ce site.",
    ],
    rate_limited: ["Trop de tentatives", "Attendez un instant, puis réessayez."],
    unavailable: [
      "Votre carte ne peut pas être affichée pour le moment",
      "Votre carte n’a aucun problème. Réessayez dans un instant.",
    ],
    offline: ["Vous êtes hors ligne", "Vérifiez votre connexion à Internet, puis réessayez."],
    timeout: ["Cela prend trop de temps", "Vérifiez votre connexion à Internet, puis réessayez."],
    unsupported: [
      "Ce navigateur ne peut pas afficher votre carte",
      "Mettez-le à jour ou ouvrez cette page dans un autre navigateur.",
    ],
    invalid_request: [
      "Cette page n’est pas bien configurée",
      "Nous n’avons pas compris sa demande. Merci de prévenir l’assistance de ce site.",
    ],
    header_mismatch: [
      "Par sécurité, nous n’avons pas affiché votre carte",
      "La réponse ne correspondait pas à la demande. Ouvrez de nouveau votre carte. Si cela se reproduit, prévenez l’assistance de ce site.",
    ],
    token_failed: [
      "Votre carte n’a pas pu être ouverte",
      "Cette page n’y a pas eu accès. Revenez en arrière et ouvrez de nouveau votre carte.",
    ],
    internal: ["Une erreur s’est produite", "Revenez en arrière et ouvrez de nouveau votre carte."],
  },
};
