/*
 * ParallelConsumer - a stage on Confluent's parallel-consumer with Vert.x, to be measured beside Shelfwire (../peers.py).
 *
 * Everything it does is asynchronous: Vert.x's HTTP and PostgreSQL clients, the Kafka producer. The library keeps the order
 * by key, holds 100 messages in flight, and commits offsets of what is finished; finished is what PostgreSQL holds and Kafka
 * has acknowledged. What fails, the library tries again after a second. It keeps no note of a call before it makes one.
 *
 * Settings are those of worker.py, but THREADS.
 */
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.vertx.VertxParallelStreamProcessor;
import io.vertx.core.Future;
import io.vertx.core.Promise;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.json.Json;
import io.vertx.core.json.JsonArray;
import io.vertx.core.json.JsonObject;
import io.vertx.ext.web.client.HttpRequest;
import io.vertx.ext.web.client.HttpResponse;
import io.vertx.ext.web.client.WebClient;
import io.vertx.ext.web.client.WebClientOptions;
import io.vertx.pgclient.PgBuilder;
import io.vertx.pgclient.PgConnectOptions;
import io.vertx.sqlclient.Pool;
import io.vertx.sqlclient.PoolOptions;
import io.vertx.sqlclient.Row;
import io.vertx.sqlclient.RowSet;
import io.vertx.sqlclient.Tuple;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.function.Function;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class ParallelConsumer {
    private static final int CONCURRENCY = 100;
    private static final int COMMIT_MS = 100; // Shelfwire's own interval

    private final Map<String, String> env = System.getenv();
    private final boolean looksFirst = !env.getOrDefault("LOOKS_FIRST", "1").equals("0");
    private final String root = env.get("PASSAGEPOINT_URL") + "/pp/api/v2/";
    private final String to = env.get("TO");
    private final Vertx vertx = Vertx.vertx();
    private final WebClient http = WebClient.create(vertx,
        new WebClientOptions().setMaxPoolSize(CONCURRENCY).setConnectTimeout(20000));
    private final Pool db = PgBuilder.pool()
        .with(new PoolOptions().setMaxSize(10))
        .connectingTo(PgConnectOptions.fromEnv().setCachePreparedStatements(true).setPipeliningLimit(64))
        .using(vertx).build();
    private final KafkaProducer<String, String> producer = new KafkaProducer<>(kafka(Map.of("acks", "all", "linger.ms", "5")),
        new StringSerializer(), new StringSerializer());
    private Future<String> token;

    private Properties kafka(Map<String, String> more) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", env.get("KAFKA_BOOTSTRAP_SERVERS"));
        settings.putAll(more);
        return settings;
    }

    // ---- the gate ----

    /** The gate's token, shared by all calls; one log-in at a time. */
    private synchronized Future<String> token() {
        if (token == null || token.failed())
            token = http.postAbs(root + "auth/login").timeout(20000)
                .sendJsonObject(new JsonObject().put("username", env.get("PASSAGEPOINT_USERNAME"))
                    .put("password", env.get("PASSAGEPOINT_PASSWORD")))
                .map(answer -> answer.bodyAsJsonObject().getString("token"));
        return token;
    }

    private synchronized void refused(String value) {
        if (token != null && token.succeeded() && token.result().equals(value))
            token = null;
    }

    private Future<HttpResponse<Buffer>> ask(HttpMethod method, String path,
                                             Function<HttpRequest<Buffer>, Future<HttpResponse<Buffer>>> send) {
        return token().compose(value -> send
            .apply(http.requestAbs(method, root + path).timeout(20000).putHeader("token", value))
            .onSuccess(answer -> {
                if (answer.statusCode() == 401)
                    refused(value);
            }));
    }

    /** {"data":[{"id":1}]} of what was made, [{"id":1}] of what was found. */
    private static Future<String> id(HttpResponse<Buffer> answer) {
        if (answer.statusCode() / 100 != 2)
            return Future.failedFuture("the gate answers " + answer.statusCode());
        Object said = Json.decodeValue(answer.body());
        JsonArray rows = said instanceof JsonArray found ? found : ((JsonObject) said).getJsonArray("data");
        return Future.succeededFuture(rows.getJsonObject(0).getValue("id").toString());
    }

    private Future<RowSet<Row>> sql(String statement, Object... values) {
        return db.preparedQuery(statement).execute(Tuple.from(values));
    }

    // ---- the work: users-resolve's, prereg-create's ----

    private Future<?> createVisitor(JsonObject message) {
        String primaryId = message.getString("primary_id");
        return sql("SELECT barcode, first_name, last_name, emails[1], visitor_id FROM users WHERE primary_id = $1", primaryId)
            .compose(rows -> {
                Row row = rows.iterator().next();
                if (row.getString(4) != null && looksFirst)
                    return Future.succeededFuture();
                String barcode = row.getString(0);
                return ask(HttpMethod.POST, "person/createVisitor", request -> request
                        .addQueryParam("category", "Student").addQueryParam("firstName", row.getString(1))
                        .addQueryParam("lastName", row.getString(2)).addQueryParam("email", row.getString(3))
                        .addQueryParam("mobilePhoneNo", primaryId).addQueryParam("uniqueId", barcode).send())
                    .compose(answer -> answer.statusCode() == 409 && answer.bodyAsString().contains("ALREADY_EXIST")
                        ? ask(HttpMethod.GET, "person/byUniqueId", request -> request.addQueryParam("uniqueId", barcode).send())
                        : Future.succeededFuture(answer))
                    .compose(ParallelConsumer::id)
                    .compose(id -> sql("UPDATE users SET visitor_id = $2, visitor_barcode = $3, visitor_at = clock_timestamp()"
                        + " WHERE primary_id = $1", primaryId, id, barcode));
            });
    }

    private Future<?> createPreReg(JsonObject message) {
        UUID apptId = UUID.fromString(message.getString("appt_id"));
        return sql("SELECT u.visitor_id, u.barcode, extract(epoch FROM p.starts_at)::bigint,"
                + " extract(epoch FROM p.ends_at)::bigint, p.destination, p.prereg_id"
                + " FROM appts p JOIN users u ON u.primary_id = $1 WHERE p.appt_id = $2",
                message.getString("primary_id"), apptId)
            .compose(rows -> {
                Row row = rows.iterator().next();
                if (row.getString(5) != null && looksFirst)
                    return Future.succeededFuture();
                return ask(HttpMethod.POST, "visit/createPreReg", request -> request.sendJsonObject(new JsonObject()
                        .put("startTime", row.getLong(2).toString()).put("endTime", row.getLong(3).toString())
                        .put("visitorId", row.getString(0)).put("destination", row.getString(4))))
                    .compose(ParallelConsumer::id)
                    .compose(id -> sql("UPDATE appts SET prereg_id = $2, answer = 'made', answered_at = clock_timestamp(),"
                        + " primary_id = $3, visitor_id = $4, barcode = $5 WHERE appt_id = $1", apptId, id,
                        message.getString("primary_id"), row.getString(0), row.getString(1)));
            });
    }

    private Future<?> sendOn(ConsumerRecord<String, String> record) {
        Promise<Void> sent = Promise.promise();
        producer.send(new ProducerRecord<>(to, record.key(), record.value()), (metadata, why) -> {
            if (why == null)
                sent.complete();
            else
                sent.fail(why);
        });
        return sent.future();
    }

    private Future<?> work(ConsumerRecord<String, String> record) {
        JsonObject message = new JsonObject(record.value());
        Future<?> done = env.get("CALL").equals("createVisitor") ? createVisitor(message) : createPreReg(message);
        return to == null ? done : done.compose(ignored -> sendOn(record));
    }

    // ---- the library ----

    private void run() {
        Properties settings = kafka(Map.of("group.id", env.get("GROUP"), "auto.offset.reset", "earliest",
            "enable.auto.commit", "false"));
        if (env.containsKey("KAFKA_GROUP_INSTANCE_ID"))
            settings.put("group.instance.id", env.get("KAFKA_GROUP_INSTANCE_ID"));
        VertxParallelStreamProcessor<String, String> processor = VertxParallelStreamProcessor.createEosStreamProcessor(
            ParallelConsumerOptions.<String, String>builder()
                .consumer(new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer()))
                .ordering(ProcessingOrder.KEY).maxConcurrency(CONCURRENCY)
                .commitMode(CommitMode.PERIODIC_CONSUMER_SYNC).commitInterval(Duration.ofMillis(COMMIT_MS))
                .build());
        processor.subscribe(List.of(env.get("FROM")));
        processor.vertxFuture(context -> work(context.getSingleConsumerRecord()));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            processor.closeDrainFirst();
            producer.close();
        }));
    }

    public static void main(String[] arguments) {
        new ParallelConsumer().run();
    }
}
