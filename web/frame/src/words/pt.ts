import type { Words } from "./en.ts";

export const pt: Words = {
  labels: {
    card: "O seu cartão",
    number: "Número do cartão",
    numberEnding: "Número do cartão terminado em {digits}",
    expiry: "Validade",
    cvv: "CVV",
    name: "Titular",
    copyField: "Copiar: {field}",
    copied: "Copiado",
    copyFailed: "Não foi possível copiar. Selecione os dígitos e copie-os à mão.",
    showField: "Mostrar: {field}",
    hideField: "Ocultar: {field}",
    showShort: "Mostrar",
    show: "Mostrar os dados do cartão",
    hide: "Ocultar",
    retry: "Tentar de novo",
    retryIn: "Tentar de novo em {seconds} s",
    hidesIn: "Oculta em {seconds} s",
    loading: "A carregar os dados do cartão",
    shown: "Dados do cartão à vista",
    hidden: "Dados do cartão ocultos",
    hiddenByTime: "Ocultos para proteger o seu cartão.",
    hiddenByLeaving: "Ocultos durante a sua ausência.",
    fieldGone: "{field}: já não pode ser mostrado. Abra o cartão de novo para o ver.",
    fieldAbsent: "{field}: não disponível neste cartão.",
    covered: "Algo nesta página cobre o seu cartão. Ele aparecerá quando nada o cobrir.",
    reference: "Referência: {id}",
  },
  errors: {
    token_refused: [
      "Este acesso ao seu cartão já não funciona",
      "Expirou ou já foi usado. Volte atrás e abra o cartão de novo.",
    ],
    field_unavailable: [
      "Estes dados não estão disponíveis",
      "O seu cartão não os tem, ou esta página não os pode mostrar. Avise o apoio deste site.",
    ],
    origin_refused: [
      "Esta página não pode mostrar o seu cartão",
      "Não está registada para isso. Informe o apoio deste site.",
    ],
    rate_limited: ["Demasiadas tentativas", "Aguarde um momento e tente de novo."],
    unavailable: [
      "Não é possível mostrar o seu cartão agora",
      "Está tudo bem com o seu cartão. Tente de novo dentro de momentos.",
    ],
    offline: ["Está sem ligação", "Verifique a ligação à Internet e tente de novo."],
    timeout: ["Está a demorar demasiado", "Verifique a ligação à Internet e tente de novo."],
    unsupported: [
      "Este navegador não consegue mostrar o seu cartão",
      "Atualize-o ou abra esta página noutro.",
    ],
    invalid_request: [
      "Esta página não está bem configurada",
      "Não compreendemos o pedido. Informe o apoio deste site.",
    ],
    header_mismatch: [
      "Por segurança, não mostrámos o seu cartão",
      "A resposta não correspondia ao pedido. Abra o cartão de novo. Se voltar a acontecer, informe o apoio deste site.",
    ],
    token_failed: [
      "Não foi possível abrir o seu cartão",
      "Esta página não recebeu acesso. Volte atrás e abra o cartão de novo.",
    ],
    internal: ["Algo correu mal", "Volte atrás e abra o cartão de novo."],
  },
};
