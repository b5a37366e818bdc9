"""What the made-up texts of the demo say, by language. Every company, person and number in them is invented."""

from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["en", "fr", "es"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A text from the business and what people answer; `{...}` is filled in by demo.py."""

    kind: str
    sent: str
    answers: tuple[str, ...] = ()
    closing: str | None = None


EXCHANGES: Final[dict[Language, tuple[Exchange, ...]]] = {
    "en": (
        Exchange(
            "appointment",
            "Hi {name}, a reminder of your appointment on {day} at {hour}. Reply C to confirm or R to reschedule.",
            (
                "C",
                "C, thank you!",
                "R please, is {day} possible?",
                "Yes, see you then",
                "Can I come half an hour later?",
                "I have to cancel my appointment, sorry",
            ),
            "Thank you, {name}. Your appointment is noted.",
        ),
        Exchange(
            "appointment",
            "{company}: your appointment with {staff} is tomorrow at {hour}. Please bring your insurance card.",
            ("Confirmed", "I can't make it, sorry. Can we reschedule?", "OK 👍"),
        ),
        Exchange(
            "delivery",
            "{company}: parcel {ref} is out for delivery and will arrive on {day} between {hour} and 6 pm.",
            ("Please leave it with the neighbor", "Thanks!", "I'm not home until 5", "Ring twice, the bell is quiet"),
        ),
        Exchange("delivery", "Good news, {name}! Your order {ref} was delivered today. Enjoy it! {company}"),
        Exchange(
            "invoice",
            "{company}: invoice {ref} for ${amount} is due on {day}. Questions? Just answer this text.",
            ("Paid this morning", "Could I pay in two parts?", "Which order is this for?", "Got it, thank you"),
            "Thanks, {name}, that is fine. We have made a note on invoice {ref}.",
        ),
        Exchange("invoice", "We received your payment of ${amount} for invoice {ref}. Thank you! {company}"),
        Exchange("code", "{code} is your {company} verification code. It expires in 10 minutes. Do not share it."),
        Exchange(
            "opt-out",
            "{company}: 15% off all spring services this week only! Reply STOP to opt out.",
            ("STOP", "Stop", "STOP please", "UNSUBSCRIBE"),
            "{company}: you are unsubscribed and will receive no more messages. Reply START to resubscribe.",
        ),
    ),
    "fr": (
        Exchange(
            "appointment",
            "Bonjour {name}, rappel de votre rendez-vous le {day} à {hour}. Répondez C (confirmer) ou R (reporter).",
            (
                "C",
                "C merci beaucoup",
                "R s'il vous plaît, plutôt le {day} ?",
                "Parfait, à bientôt",
                "J'aurai 10 min de retard",
            ),
            "Merci {name}, votre rendez-vous est bien noté.",
        ),
        Exchange(
            "delivery",
            "{company} : votre colis {ref} sera livré le {day} entre {hour} et 18 h.",
            ("Merci !", "Laissez-le chez le voisin svp", "Je serai absente, après 17 h c'est mieux"),
        ),
        Exchange("delivery", "Bonne nouvelle {name} : votre commande {ref} a été livrée aujourd'hui. {company}"),
        Exchange(
            "invoice",
            "{company} : la facture {ref} de {amount} $ est due le {day}. Une question ? Répondez à ce texto.",
            ("Payée ce matin", "Puis-je payer en deux fois ?", "Bien reçu, merci"),
            "C'est noté pour la facture {ref}, merci {name}.",
        ),
        Exchange("code", "{code} est votre code de vérification {company}. Valable 10 minutes, ne le partagez pas."),
        Exchange(
            "opt-out",
            "{company} : 20 % sur l'entretien d'été jusqu'au {day} ! Répondez ARRET pour ne plus recevoir de textos.",
            ("ARRET", "Arrêt", "ARRÊT svp"),
            "{company} : vous êtes désabonné et ne recevrez plus de messages.",
        ),
    ),
    "es": (
        Exchange(
            "appointment",
            "Hola {name}, le recordamos su cita el {day} a las {hour}. Responda C para confirmar o R para cambiarla.",
            ("C", "C, gracias", "R por favor, ¿puede ser el {day}?", "Sí, allí estaré", "Llego 15 minutos tarde"),
            "Gracias, {name}. Su cita está confirmada.",
        ),
        Exchange(
            "delivery",
            "{company}: su paquete {ref} llegará el {day} entre las {hour} y las 18 h.",
            ("¡Gracias!", "Déjelo con la vecina, por favor", "No estaré en casa hasta las 5"),
        ),
        Exchange("delivery", "¡Buenas noticias, {name}! Su pedido {ref} se entregó hoy. {company}"),
        Exchange(
            "invoice",
            "{company}: la factura {ref} por ${amount} vence el {day}. ¿Preguntas? Responda a este mensaje.",
            ("Pagada esta mañana", "¿Puedo pagar en dos partes?", "Recibido, gracias"),
            "De acuerdo, {name}. Lo anotamos en la factura {ref}.",
        ),
        Exchange("code", "{code} es su código de verificación de {company}. Vence en 10 minutos. No lo comparta."),
        Exchange(
            "opt-out",
            "{company}: ¡10% de descuento hasta el {day}! Responda ALTO para no recibir más mensajes.",
            ("ALTO", "Alto por favor", "STOP"),
            "{company}: ya no recibirá más mensajes nuestros.",
        ),
    ),
}

NAMES: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("Avery", "Blake", "Casey", "Devon", "Harper", "Jordan", "Morgan", "Quinn", "Riley", "Taylor"),
    "fr": ("Amélie", "Benoît", "Chloé", "Étienne", "Gaëlle", "Jérôme", "Maëlle", "Noémie", "Rémi", "Zoé"),
    "es": ("Alejandra", "Begoña", "Concepción", "Íñigo", "Jesús", "Lucía", "Martín", "Óscar", "Raúl", "Sofía"),
}

STAFF: Final = ("Dr. Okafor", "Ms. Lindqvist", "Mr. Tanaka", "Dr. Beaulieu", "Ms. Ferreira")

DAYS: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}
