/** What a cardholder is told who is asked for a code, in every language of `words`. */
export interface FactorWords {
  title: string;
  /** For a code of an authenticator app. */
  app: string;
  /** For a code that the programme delivers. */
  sent: string;
  digits: string;
  confirm: string;
  again: string;
  another: string;
  all: string;
  wrong: string;
  left: string;
  over: string;
  restart: string;
  tooOften: string;
  comeBack: string;
  locked: string;
  lockedAdvice: string;
}

const en: FactorWords = {
  title: "Confirm that it is you",
  app: "Open your authenticator app and type the code for your card.",
  sent: "A code is on its way to you. Type it here.",
  digits: "Six-digit code",
  confirm: "Show card",
  again: "Send another code",
  another: "Another code is on its way.",
  all: "Type all six digits.",
  wrong: "The code was not accepted.",
  left: "Tries left: {tries}.",
  over: "The time for this code is over",
  restart: "Start again",
  tooOften: "Too many tries",
  comeBack: "Try again in {time}.",
  locked: "Your code cannot be checked",
  lockedAdvice: "It is locked, or not set up. Please tell the support of this site.",
};

const de: FactorWords = {
  title: "Bestätigen Sie, dass Sie es sind",
  app: "Öffnen Sie Ihre Authenticator-App und geben Sie den Code für Ihre Karte ein.",
  sent: "Ein Code ist auf dem Weg zu Ihnen. Geben Sie ihn hier ein.",
  digits: "Sechsstelliger Code",
  confirm: "Karte anzeigen",
  again: "Neuen Code senden",
  another: "Ein neuer Code ist auf dem Weg.",
  all: "Geben Sie alle sechs Ziffern ein.",
  wrong: "Der Code wurde nicht angenommen.",
  left: "Verbleibende Versuche: {tries}.",
  over: "Die Zeit für diesen Code ist abgelaufen",
  restart: "Neu beginnen",
  tooOften: "Zu viele Versuche",
  comeBack: "Versuchen Sie es in {time} erneut.",
  locked: "Ihr Code kann nicht geprüft werden",
  lockedAdvice:
    "Er ist gesperrt oder nicht eingerichtet. Bitte wenden Sie sich an den Support dieser Website.",
};

const es: FactorWords = {
  title: "Confirme que es usted",
  app: "Abra su aplicación de autenticación y escriba el código de su tarjeta.",
  sent: "Le hemos enviado un código. Escríbalo aquí.",
  digits: "Código de seis dígitos",
  confirm: "Mostrar tarjeta",
  again: "Enviar otro código",
  another: "Otro código está en camino.",
  all: "Escriba los seis dígitos.",
  wrong: "El código no se ha aceptado.",
  left: "Intentos restantes: {tries}.",
  over: "El tiempo de este código ha terminado",
  restart: "Empezar de nuevo",
  tooOften: "Demasiados intentos",
  comeBack: "Inténtelo de nuevo en {time}.",
  locked: "No se puede comprobar su código",
  lockedAdvice: "Está bloqueado o no está configurado. Avise al soporte de este sitio.",
};

const fr: FactorWords = {
  title: "Confirmez qu’il s’agit de vous",
  app: "Ouvrez votre application d’authentification et saisissez le code de votre carte.",
  sent: "Un code vous est envoyé. Saisissez-le ici.",
  digits: "Code à six chiffres",
  confirm: "Afficher la carte",
  again: "Envoyer un autre code",
  another: "Un autre code est en route.",
  all: "Saisissez les six chiffres.",
  wrong: "Le code n’a pas été accepté.",
  left: "Essais restants : {tries}.",
  over: "Le délai de ce code est écoulé",
  restart: "Recommencer",
  tooOften: "Trop d’essais",
  comeBack: "Réessayez dans {time}.",
  locked: "Votre code ne peut pas être vérifié",
  lockedAdvice: "Il est bloqué ou n’est pas configuré. Prévenez l’assistance de ce site.",
};

const pt: FactorWords = {
  title: "Confirme que é você",
  app: "Abra seu aplicativo de autenticação e digite o código do seu cartão.",
  sent: "Um código está a caminho. Digite-o aqui.",
  digits: "Código de seis dígitos",
  confirm: "Mostrar cartão",
  again: "Enviar outro código",
  another: "Outro código está a caminho.",
  all: "Digite os seis dígitos.",
  wrong: "O código não foi aceito.",
  left: "Tentativas restantes: {tries}.",
  over: "O tempo deste código acabou",
  restart: "Começar de novo",
  tooOften: "Tentativas demais",
  comeBack: "Tente novamente em {time}.",
  locked: "Não é possível verificar seu código",
  lockedAdvice: "Ele está bloqueado ou não foi configurado. Avise o suporte deste site.",
};

const ja: FactorWords = {
  title: "ご本人であることを確認します",
  app: "認証アプリを開き、カードのコードを入力してください。",
  sent: "コードをお送りしています。ここに入力してください。",
  digits: "6桁のコード",
  confirm: "カードを表示",
  again: "コードを再送信",
  another: "新しいコードをお送りしています。",
  all: "6桁すべてを入力してください。",
  wrong: "コードが正しくありません。",
  left: "残り{tries}回。",
  over: "このコードの有効時間が過ぎました",
  restart: "もう一度始める",
  tooOften: "試行回数が多すぎます",
  comeBack: "{time}後にもう一度お試しください。",
  locked: "コードを確認できません",
  lockedAdvice:
    "ロックされているか、設定されていません。このサイトのサポートにお問い合わせください。",
};

const zh: FactorWords = {
  title: "请确认是您本人",
  app: "请打开身份验证器应用，输入您的卡的验证码。",
  sent: "验证码正在发送给您，请在此输入。",
  digits: "六位验证码",
  confirm: "显示卡片",
  again: "重新发送验证码",
  another: "新的验证码正在发送。",
  all: "请输入全部六位数字。",
  wrong: "验证码不正确。",
  left: "剩余次数：{tries}。",
  over: "此验证码已过期",
  restart: "重新开始",
  tooOften: "尝试次数过多",
  comeBack: "请在{time}后重试。",
  locked: "无法验证您的验证码",
  lockedAdvice: "它已被锁定或尚未设置。请联系本网站的客服。",
};

const ar: FactorWords = {
  title: "أكّد أنك صاحب البطاقة",
  app: "افتح تطبيق المصادقة واكتب رمز بطاقتك.",
  sent: "رمز في طريقه إليك. اكتبه هنا.",
  digits: "رمز من ستة أرقام",
  confirm: "إظهار البطاقة",
  again: "إرسال رمز آخر",
  another: "رمز آخر في طريقه إليك.",
  all: "اكتب الأرقام الستة كلها.",
  wrong: "لم يُقبل الرمز.",
  left: "المحاولات المتبقية: {tries}.",
  over: "انتهى وقت هذا الرمز",
  restart: "البدء من جديد",
  tooOften: "محاولات كثيرة جدًا",
  comeBack: "حاول مجددًا بعد {time}.",
  locked: "لا يمكن التحقق من رمزك",
  lockedAdvice: "إنه مقفل أو لم يُضبط بعد. يُرجى إبلاغ دعم هذا الموقع.",
};

/** To add a language: here, and in `words/all.ts`. */
export const FACTOR_WORDS: Record<string, FactorWords> & { en: FactorWords } = {
  ar,
  de,
  en,
  es,
  fr,
  ja,
  pt,
  zh,
};
