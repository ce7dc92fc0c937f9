import type { Words } from "./en.ts";

export const es: Words = {
  labels: {
    card: "Su tarjeta",
    number: "Número de tarjeta",
    numberEnding: "Número de tarjeta terminado en {digits}",
    expiry: "Caducidad",
    cvv: "CVV",
    name: "Titular",
    copyField: "Copiar: {field}",
    copied: "Copiado",
    copyFailed: "No se ha podido copiar. Seleccione los dígitos y cópielos a mano.",
    showField: "Mostrar: {field}",
    hideField: "Ocultar: {field}",
    showShort: "Mostrar",
    show: "Mostrar los datos",
    hide: "Ocultar",
    retry: "Reintentar",
    retryIn: "Reintentar en {seconds} s",
    hidesIn: "Se oculta en {seconds} s",
    loading: "Cargando los datos de la tarjeta",
    shown: "Datos de la tarjeta a la vista",
    hidden: "Datos de la tarjeta ocultos",
    hiddenByTime: "Ocultos para proteger su tarjeta.",
    hiddenByLeaving: "Ocultos mientras no estaba.",
    fieldGone: "{field}: ya no se puede mostrar. Vuelva a abrir su tarjeta para verlo.",
    fieldAbsent: "{field}: no disponible en esta tarjeta.",
    covered: "Algo en esta página cubre su tarjeta. Aparecerá cuando nada la cubra.",
    reference: "Referencia: {id}",
  },
  errors: {
    token_refused: [
      "Este acceso a su tarjeta ya no es válido",
      "Ha caducado o ya se ha usado. Vuelva atrás y abra su tarjeta de nuevo.",
    ],
    field_unavailable: [
      "Estos datos no están disponibles",
      "Su tarjeta no los tiene, o esta página no puede mostrarlos. Avise al servicio de asistencia de este sitio.",
    ],
    origin_refused: [
      "Esta página no puede mostrar su tarjeta",
      "No está registrada para ello. Avise al servicio de atención de este sitio.",
    ],
    rate_limited: ["Demasiados intentos", "Espere un momento y vuelva a intentarlo."],
    unavailable: [
      "Ahora mismo no se puede mostrar su tarjeta",
      "Su tarjeta está bien. Vuelva a intentarlo dentro de un momento.",
    ],
    offline: ["Está sin conexión", "Compruebe su conexión a Internet y vuelva a intentarlo."],
    timeout: ["Está tardando demasiado", "Compruebe su conexión a Internet y vuelva a intentarlo."],
    unsupported: [
      "Este navegador no puede mostrar su tarjeta",
      "Actualícelo o abra esta página en otro.",
    ],
    invalid_request: [
      "Esta página no está bien configurada",
      "No hemos entendido su solicitud. Avise al servicio de atención de este sitio.",
    ],
    header_mismatch: [
      "Por seguridad, no hemos mostrado su tarjeta",
      "La respuesta no correspondía a la solicitud. Abra su tarjeta de nuevo. Si vuelve a ocurrir, avise al servicio de atención de este sitio.",
    ],
    token_failed: [
      "No se ha podido abrir su tarjeta",
      "Esta página no ha recibido acceso. Vuelva atrás y abra su tarjeta de nuevo.",
    ],
    internal: ["Algo ha ido mal", "Vuelva atrás y abra su tarjeta de nuevo."],
  },
};
